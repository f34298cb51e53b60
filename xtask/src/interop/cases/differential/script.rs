//! The script: requests by name, target, code, fields and body, as `script.txt` lists them, and what spoils them.

use rocketry_protocol::batch::{BatchItem, encode_item};
use rocketry_protocol::{Fields, RemotingCommand, RequestCode};

use crate::Result;

const SCRIPT: &str = include_str!("script.txt");

/// Whom a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Broker,
    NameServer,
}

/// One request. Fields and body may refer to earlier replies, see [`Step::command`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The name in the script; with what was spoiled behind it.
    pub(super) name: String,
    pub(super) to: To,
    pub(super) code: i32,
    fields: Vec<(String, String)>,
    body: String,
}

impl Step {
    /// The request, with `${…}` replaced by what `known` says of it; 0 where a reply lacks the field, which is a difference of its own.
    pub(super) fn command(
        &self,
        known: &dyn Fn(&str) -> Option<String>,
    ) -> Result<RemotingCommand> {
        let mut command = RemotingCommand::bare_request(RequestCode(self.code));
        if !self.fields.is_empty() {
            let mut fields = Fields::default();
            for (name, value) in &self.fields {
                fields.push(name, &filled(value, known)?);
            }
            command.fields = Some(fields);
        }
        let body = filled(&self.body, known)?;
        if let Some(bytes) = body.strip_prefix("fill:") {
            return Ok(command.with_body("x".repeat(bytes.parse()?)));
        }
        if let Some(count) = body.strip_prefix("batch:") {
            return Ok(command.with_body(batch(count.parse()?)?));
        }
        Ok(command.with_body(body))
    }

    /// Whether asking twice does no harm: an index or a route may be a moment behind.
    pub(super) fn only_reads(&self) -> bool {
        const READS: [i32; 52] = [
            11, 12, 14, 21, 26, 28, 29, 30, 31, 32, 33, 38, 43, 45, 61, 101, 105, 106, 201, 202,
            203, 204, 206, 208, 219, 224, 300, 303, 304, 305, 308, 311, 312, 313, 315, 317, 319,
            321, 322, 328, 343, 345, 351, 352, 361, 400, 901, 3004, 3005, 3009, 3010, 200_055,
        ];
        READS.contains(&self.code)
    }

    /// The same request without each field, and with each field wrong in every way that suits it.
    fn spoiled(&self) -> Vec<Self> {
        let mut steps = Vec::new();
        for (at, (name, value)) in self.fields.iter().enumerate() {
            let mut without = self.clone();
            without.fields.remove(at);
            without.name = format!("{} without {name}", self.name);
            steps.push(without);
            for wrong in wrong_values(value) {
                let mut spoiled = self.clone();
                if let Some((_, value)) = spoiled.fields.get_mut(at) {
                    (*wrong).clone_into(value);
                }
                spoiled.name = format!("{} {name}={wrong}", self.name);
                steps.push(spoiled);
            }
        }
        if !self.body.is_empty() {
            for (wrong, body) in [
                ("without body", ""),
                ("body=[]", "[]"),
                ("body={", "{"),
                ("body={}", "{}"),
            ] {
                steps.push(Self {
                    name: format!("{} {wrong}", self.name),
                    body: body.to_owned(),
                    ..self.clone()
                });
            }
        }
        steps
    }
}

/// As many messages as clients put them into one request.
fn batch(count: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    for n in 0..count {
        let text = format!("message {n}");
        let item = BatchItem {
            flag: 0,
            body: text.as_bytes(),
            properties: b"TAGS\x01TagA\x02",
        };
        encode_item(&item, &mut body)?;
    }
    Ok(body)
}

fn filled(text: &str, known: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) = after.split_once('}').ok_or("`${` without `}`")?;
        out.push_str(before);
        out.push_str(&known(name).unwrap_or_else(|| "0".to_owned()));
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

fn wrong_values(value: &str) -> &'static [&'static str] {
    if value.parse::<i64>().is_ok() {
        &["x", "", "-2", "99999999999999999999"]
    } else if ["true", "false"].contains(&value) {
        &["maybe"]
    } else {
        &["", "nobody"]
    }
}

/// All steps in order.
pub(super) fn steps() -> Result<Vec<Step>> {
    parse(SCRIPT)
}

fn parse(script: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    // What writes and is wrong may be taken by one of the two: that must not change what the others see.
    let mut at_the_end = Vec::new();
    for line in script.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (line, spoil) = line
            .strip_prefix('*')
            .map_or((line, false), |line| (line, true));
        let (head, body) = line.split_once(" :: ").unwrap_or((line, ""));
        let mut words = head.split_whitespace();
        let mut next = || words.next().ok_or_else(|| format!("a short line: {line}"));
        let name = next()?.to_owned();
        let to = match next()? {
            "broker" => To::Broker,
            "namesrv" => To::NameServer,
            other => return Err(format!("{name}: no such target: {other}").into()),
        };
        let code = next()?.parse()?;
        let fields = words
            .map(|word| {
                let (name, value) = word
                    .split_once('=')
                    .ok_or_else(|| format!("no `=` in {word}"))?;
                Ok((
                    name.to_owned(),
                    value
                        .replace("\\s", " ")
                        .replace("\\1", "\u{1}")
                        .replace("\\2", "\u{2}"),
                ))
            })
            .collect::<Result<_>>()?;
        let step = Step {
            name,
            to,
            code,
            fields,
            body: body.replace("\\n", "\n"),
        };
        if spoil {
            let spoiled = step.spoiled();
            if step.only_reads() {
                steps.push(step);
                steps.extend(spoiled);
                continue;
            }
            at_the_end.extend(spoiled);
        }
        steps.push(step);
    }
    steps.append(&mut at_the_end);
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_line_is_a_request_and_what_spoils_it() {
        let steps = parse("# text\n*get broker 30 topic=T queueId=0\nput broker 10 a=\\sx\\1y :: {\"b\":${get.offset}}").unwrap();
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "get",
                "get without topic",
                "get topic=",
                "get topic=nobody",
                "get without queueId",
                "get queueId=x",
                "get queueId=",
                "get queueId=-2",
                "get queueId=99999999999999999999",
                "put",
            ]
        );
        let put = steps.last().unwrap();
        let command = put
            .command(&|name| (name == "get.offset").then(|| "7".to_owned()))
            .unwrap();
        assert_eq!(
            (command.code, command.field("a"), &*command.body),
            (10, Some(" x\u{1}y"), &b"{\"b\":7}"[..])
        );
        assert_eq!(&*put.command(&|_| None).unwrap().body, b"{\"b\":0}");
    }

    #[test]
    fn the_script_has_enough_steps_and_each_name_once() {
        let steps = steps().unwrap();
        let names: BTreeSet<_> = steps.iter().map(|step| &step.name).collect();
        assert_eq!(names.len(), steps.len());
        assert!(steps.len() >= 200, "{}", steps.len());
    }
}
