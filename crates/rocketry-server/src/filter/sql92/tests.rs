use std::collections::HashMap;

use serde_json::Value as Json;

use super::*;

/// Written by `interop/java/Sql92Vectors.java`.
fn vectors() -> Json {
    serde_json::from_str(include_str!("../../../tests/vectors/sql92.json")).unwrap()
}

fn cases(vectors: &Json) -> Vec<(&str, &str)> {
    let cases = vectors["cases"].as_array().unwrap();
    cases
        .iter()
        .map(|case| {
            (
                case["expression"].as_str().unwrap(),
                case["results"].as_str().unwrap(),
            )
        })
        .collect()
}

fn sets(vectors: &Json) -> Vec<HashMap<&str, &str>> {
    let sets = vectors["sets"].as_array().unwrap();
    sets.iter()
        .map(|set| {
            let members = set.as_object().unwrap().iter();
            members
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                .collect()
        })
        .collect()
}

/// One letter for each set of properties, as in the vectors.
fn results(expression: &str, sets: &[HashMap<&str, &str>]) -> String {
    match Expression::compile(expression) {
        Err(_) => "refused".to_owned(),
        Ok(expression) => sets
            .iter()
            .map(
                |set| match expression.evaluate(|name| set.get(name).copied()) {
                    Ok(Some(true)) => 't',
                    Ok(Some(false)) => 'f',
                    Ok(None) => 'n',
                    Err(Incomparable) => 'x',
                },
            )
            .collect(),
    }
}

/// S-055.
#[test]
fn s055_every_result_is_javas() {
    let vectors = vectors();
    let (cases, sets) = (cases(&vectors), sets(&vectors));
    assert!(
        cases.len() > 900 && sets.len() == 9,
        "the vectors are whole"
    );
    let differences: Vec<_> = cases
        .iter()
        .map(|(expression, java)| (expression, results(expression, &sets), java))
        .filter(|(_, ours, java)| ours != *java)
        .collect();
    assert!(
        differences.is_empty(),
        "{}: {differences:#?}",
        differences.len()
    );
}

#[test]
fn faults_are_located() {
    for (text, expected) in [
        (
            "",
            "character 1: expected a property, a value or `(`, found the end",
        ),
        (
            "a = ",
            "character 5: expected a property, a value or `(`, found the end",
        ),
        (
            "a == 1",
            "character 4: expected a property, a value or `(`, found `=` (equality is written =)",
        ),
        (
            "\u{4e2d} = 1",
            "character 1: `\u{4e2d}` begins nothing (property names consist of letters A to Z, digits, _ and $)",
        ),
        (
            "a = '\u{4e2d}' AND !b",
            "character 13: `!` begins nothing (unequal is written <>, negation NOT)",
        ),
        (
            "a = 1 || b = 2",
            "character 7: `|` begins nothing (write OR)",
        ),
        (
            "a = \"x\"",
            "character 5: `\\\"` begins nothing (text stands in single quotes, property names in none)",
        ),
        (
            "a = 'it",
            "character 5: the text that begins here does not end (a quote within text is written twice: 'it''s')",
        ),
        (
            "a > 'x'",
            "character 5: text has no order (only = and <> compare text)",
        ),
        (
            "a <> NULL",
            "character 6: NULL equals nothing (write IS NULL or IS NOT NULL)",
        ),
        (
            "a > 1 > 2",
            "character 1: a condition has no order (join conditions with AND)",
        ),
        (
            "a = 1 AND 5",
            "character 11: a value is no condition (compare it with something)",
        ),
        (
            "a BETWEEN 2 AND 1",
            "character 17: BETWEEN ends below its start (the lower limit comes first)",
        ),
        (
            "a NOT x",
            "character 7: expected BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH after NOT, found `x`",
        ),
        ("a IS x", "character 6: expected `NULL`, found `x`"),
        ("a IN ('x' 'y')", "character 11: expected `)`, found 'y'"),
        ("1 IN ('x')", "character 1: IN takes a property on its left"),
        (
            "a CONTAINS b",
            "character 12: expected text in single quotes, found `b`",
        ),
        (
            "a = 0.0",
            "character 5: 0.0 is too small for a number with a point (zero is written 0)",
        ),
        ("a = 1e999", "character 5: 1e999 is too large"),
        (
            "a = 9223372036854775808",
            "character 5: 9223372036854775808 is too large: whole numbers end at 9223372036854775807",
        ),
        (
            "TRUE = 1",
            "character 8: TRUE and FALSE equal no other value",
        ),
    ] {
        let error = Expression::compile(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("SQL92 expression, {expected}"),
            "{text}"
        );
    }
}

#[test]
fn what_is_not_read_is_told() {
    for (text, unread_from) in [
        ("a = 1", None),
        ("a = 1 -- closed\n ", None),
        ("a > 5 + 3", Some(7)),
        ("a = '\u{4e2d}' b", Some(9)),
        ("a LIKE 'x%'", Some(3)),
    ] {
        assert_eq!(
            Expression::compile(text).unwrap().unread_from(),
            unread_from,
            "{text}"
        );
    }
}

/// The deepest expression needs half the stack of a runtime's thread, even in a build without optimisation.
#[test]
fn depth_is_bounded() {
    fn nested(levels: usize) -> [String; 4] {
        [
            format!("{}a = 1{}", "(".repeat(levels), ")".repeat(levels)),
            format!("{}a", "NOT ".repeat(levels)),
            format!("{}a = 1", "- ".repeat(levels)),
            format!("a{}", " IS NULL".repeat(levels)),
        ]
    }
    let thread = std::thread::Builder::new().stack_size(1024 * 1024);
    let checked = thread.spawn(|| {
        for text in nested(MAX_NESTING - 2) {
            let expression = Expression::compile(&text).unwrap();
            assert!(expression.evaluate(|_| Some("1")).is_ok(), "{text}");
        }
        for text in nested(MAX_NESTING + 1).iter().chain(&nested(8_000)) {
            let error = Expression::compile(text).unwrap_err();
            assert_eq!(
                error.problem,
                format!("nested deeper than {MAX_NESTING} levels")
            );
        }
    });
    checked.unwrap().join().unwrap();
}

#[test]
fn a_long_chain_is_not_deep() {
    let chain = vec!["a = 1"; 4_000].join(" OR ");
    assert!(Expression::compile(&chain).unwrap().matches(|_| Some("1")));
    assert!(!Expression::compile(&chain).unwrap().matches(|_| Some("2")));
}

#[test]
fn length_is_bounded() {
    let text = |bytes| format!("a = '{}'", "x".repeat(bytes - 6));
    assert!(Expression::compile(&text(MAX_TEXT_BYTES)).is_ok());
    assert!(Expression::compile(&text(MAX_TEXT_BYTES + 1)).is_err());
}

/// Whatever a stranger sends, compiling and evaluating end, and a fault lies within the text.
#[test]
fn mutations_of_the_vectors_do_no_harm() {
    let vectors = vectors();
    let (cases, sets) = (cases(&vectors), sets(&vectors));
    let mut random = fastrand::Rng::with_seed(55);
    let (mut compiled, mut refused) = (0, 0);
    for _ in 0..30_000 {
        let [first, second] = [(); 2].map(|()| random.choice(&cases).unwrap().0);
        let mut chars: Vec<char> = first.chars().collect();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..=chars.len());
            let donor = second.chars().skip(random.usize(..=second.len()));
            let some = random.usize(..8);
            let end = (at + random.usize(..3)).min(chars.len());
            chars.splice(at..end, donor.take(some));
        }
        let text: String = chars.iter().collect();
        match Expression::compile(&text) {
            Ok(expression) => {
                compiled += 1;
                for set in &sets {
                    let _ = expression.evaluate(|name| set.get(name).copied());
                }
            }
            Err(error) => {
                refused += 1;
                assert!(
                    (1..=chars.len() + 1).contains(&error.position),
                    "{text:?}: {error}"
                );
            }
        }
    }
    assert!(
        compiled > 1_000 && refused > 1_000,
        "{compiled} compiled, {refused} refused"
    );
}
