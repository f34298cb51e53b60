//! A text that has what real ones have: many lines, several scripts, duplicates, carriage returns, blanks, and a few very long lines.

/// Lines that are not empty and hold no line feed; the same every time.
pub fn lines(count: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(41);
    (0..count).map(|index| line(index, &mut random)).collect()
}

/// The lines as a file.
pub fn file(lines: &[String]) -> String {
    lines
        .iter()
        .fold(String::new(), |text, line| text + line + "\n")
}

fn line(index: usize, random: &mut fastrand::Rng) -> String {
    const PIECES: [&str; 12] = [
        "the quick brown fox",
        "Grüße",
        "žluťoučký kůň",
        "日本語のテキスト",
        "🚀 emoji 👩‍👩‍👧",
        "\t tab",
        "\"quoted\\\"",
        "{\"json\": [1, 2]}",
        "name = \"serde\"",
        "checksum",
        "\u{7f}\u{1b}[0m",
        "x\u{1}y\u{2}z",
    ];
    match index % 500 {
        0 => return "dup".to_owned(),
        1 => return " ".to_owned(),
        2 => return format!("carriage return {index}\r"),
        3 => return format!("{index} ").repeat(2_000),
        _ if index == 777 => return "long line ÄÖÜ ".repeat(60_000),
        _ => {}
    }
    let mut text = index.to_string();
    for _ in 0..random.usize(0..9) {
        text.push(' ');
        text.push_str(PIECES[random.usize(0..PIECES.len())]);
    }
    text
}
