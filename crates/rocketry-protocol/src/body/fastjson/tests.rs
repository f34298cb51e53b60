use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Bean {
    number: i32,
    long: i64,
    flag: bool,
    text: String,
    list: Vec<i32>,
    table: BTreeMap<i64, String>,
    inner: Option<Box<Self>>,
}

fn read(text: &str) -> Result<Bean, String> {
    from_slice(text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn values_in_other_forms_are_read() {
    let bean = read(
        " {\"number\" : \"5\", \"long\":1.7,\t\"flag\":\"TRUE\",\n\"text\":12,\"list\":[1,\"2\",null],\"table\":{0:\"a\",\"1\":\"b\"}} ",
    );
    let table = [(0, "a".to_owned()), (1, "b".to_owned())].into();
    assert_eq!(
        bean,
        Ok(Bean {
            number: 5,
            long: 1,
            flag: true,
            text: "12".into(),
            list: vec![1, 2],
            table,
            inner: None
        })
    );
}

#[test]
fn null_and_unknown_members_leave_the_default() {
    assert_eq!(
        read(r#"{"number":null,"list":null,"x":{{"a":[1]}:2,3:null},"inner":null}"#),
        Ok(Bean::default())
    );
}

#[test]
fn escapes() {
    let bean = read(r#"{"text":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83dx"}"#).unwrap();
    assert_eq!(bean.text, "\"\\/\x08\x0c\n\r\té😀\u{fffd}x");
    let text =
        String::from_utf8(to_vec(&"\u{1}\"\\/\n\u{7f}é\u{2028}", Style::Compact).unwrap()).unwrap();
    assert_eq!(text, "\"\\u0001\\\"\\\\/\\n\u{7f}é\u{2028}\"");
}

#[test]
fn faults_say_where() {
    for (text, expected) in [
        ("", "expected, the end found"),
        ("{", "expected, the end found"),
        (
            "{} x",
            "text after the end of the value at byte 3 of 4, near \"x\"",
        ),
        ("{\"number\":\"x\"}", "a whole number expected"),
        ("{\"number\":99999999999}", "a whole number expected"),
        ("{\"text\":\"abc", "a string without end"),
        ("{\"text\":\"\\x\"}", "an escape that JSON does not have"),
        ("{\"list\":[1 2]}", ", expected"),
        ("{\"table\":{\"x\":\"a\"}}", "a whole number expected"),
        ("[1]", "{ expected"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = format!("{}{}", "{\"inner\":".repeat(100), "}".repeat(100));
    assert!(read(&deep).unwrap_err().contains("64 levels"));
    let deep = format!("{{\"x\":{}", "[".repeat(1_000_000));
    assert!(read(&deep).unwrap_err().contains("64 levels"));
    let many = format!("{{\"list\":[{}0]}}", "0,".repeat(MAX_ELEMENTS));
    assert!(read(&many).unwrap_err().contains("members and elements"));
}

#[test]
fn doubles_look_as_in_java() {
    for (value, text) in [
        (0.0, "0.0"),
        (12.5, "12.5"),
        (0.1, "0.1"),
        (1e-5, "1.0E-5"),
        (1.5e-4, "1.5E-4"),
        (0.001, "0.001"),
        (9_999_999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (1.25e10, "1.25E10"),
        (-3.0, "-3.0"),
        (f64::NAN, "null"),
    ] {
        assert_eq!(to_vec(&value, Style::Compact).unwrap(), text.as_bytes());
    }
}

#[test]
fn styles() {
    let bean = Bean {
        long: 1 << 53,
        table: [(0, "a".to_owned()), (1, "b".to_owned())].into(),
        list: vec![7],
        ..Bean::default()
    };
    let text = |style| String::from_utf8(to_vec(&bean, style).unwrap()).unwrap();
    assert_eq!(
        text(Style::Compact),
        r#"{"number":0,"long":9007199254740992,"flag":false,"text":"","list":[7],"table":{0:"a",1:"b"},"inner":null}"#
    );
    assert_eq!(
        text(Style::Standard),
        r#"{"number":0,"long":"9007199254740992","flag":false,"text":"","list":[7],"table":{"0":"a","1":"b"},"inner":null}"#
    );
    assert_eq!(
        text(Style::Pretty),
        "{\n\t\"number\":0,\n\t\"long\":9007199254740992,\n\t\"flag\":false,\n\t\"text\":\"\",\n\t\"list\":[\n\t\t7\n\t],\n\t\"table\":{\n\t\t0:\"a\",\n\t\t1:\"b\"\n\t},\n\t\"inner\":null\n}"
    );
    for style in [Style::Compact, Style::Standard, Style::Pretty] {
        assert_eq!(read(&text(style)).unwrap(), bean);
    }
}
