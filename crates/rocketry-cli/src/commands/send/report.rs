//! What became of the messages: one result each on stdout, the summary on stderr, the failures grouped by cause.

use std::{fmt::Write as _, time::Duration};

use rocketry::{Decision, ErrorKind, ResponseCode, SendResult, SendStatus};
use serde::Serialize;
use serde_json::Value;

use super::{explain::Stages, sender::Sent};
use crate::{
    args::{Mode, ResultFormat},
    failure::Failure,
    output::Output,
    units::counted,
};

/// Causes told apart; further ones are counted together.
const MAX_CAUSES: usize = 16;

/// What became of one message.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Acknowledged.
    Stored(SendResult),
    /// Acknowledged as half of a transaction, of whose end the broker was told.
    Decided(SendResult, Decision),
    /// Handed to the connection; nobody answers.
    HandedOver,
    /// The client gave up.
    Failed(rocketry::Error),
    /// The input was no message.
    BadInput(String),
}

/// Prints results as they come and keeps count.
#[derive(Debug)]
pub(super) struct Report {
    output: Option<Output>,
    format: ResultFormat,
    mode: Mode,
    /// Whether each message has its own lines in text.
    each: bool,
    printed: u64,
    acknowledged: u64,
    handed_over: u64,
    failed: u64,
    not_durable: u64,
    /// Requests that failed since the last one that did not.
    in_a_row: u32,
    causes: Vec<Cause>,
}

#[derive(Debug)]
struct Cause {
    kind: Kind,
    times: u64,
    first_line: u64,
    failure: Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Client(ErrorKind, Option<ResponseCode>),
    Input,
    Other,
}

impl Report {
    /// Results go to `output` in `format`; `each`: as text, too, one by one.
    pub(super) fn new(
        output: Option<Output>,
        format: ResultFormat,
        mode: Mode,
        each: bool,
    ) -> Self {
        Self {
            output,
            format,
            mode,
            each,
            printed: 0,
            acknowledged: 0,
            handed_over: 0,
            failed: 0,
            not_durable: 0,
            in_a_row: 0,
            causes: Vec::new(),
        }
    }

    /// Messages that are through, one way or the other.
    pub(super) fn done(&self) -> u64 {
        self.acknowledged + self.handed_over + self.failed
    }

    /// Whether going on is hopeless: nothing but failures that are not the messages' own fault.
    pub(super) fn is_hopeless(&self, in_flight: u32) -> bool {
        let nothing_yet = self.acknowledged + self.handed_over == 0;
        // After a success a broker may be restarting, and all that were in flight fail together.
        let limit = if nothing_yet { 3 } else { 10 + in_flight };
        self.in_a_row >= limit
    }

    /// Takes note of the messages of one request, which share the stages that led to their results.
    ///
    /// # Errors
    /// As [`Report::add`].
    pub(super) fn add_request(
        &mut self,
        sent: Vec<Sent>,
        mut stages: Option<Stages>,
    ) -> Result<(), Failure> {
        let before = self.in_a_row;
        for Sent {
            line,
            topic,
            outcome,
        } in sent
        {
            self.add(line, &topic, outcome, stages.take())?;
        }
        // A batch fails as a whole, which is one failure.
        self.in_a_row = self.in_a_row.min(before + 1);
        Ok(())
    }

    /// Takes note of one message and prints its result, behind the stages that led to it.
    ///
    /// # Errors
    /// Stdout failed. A reader of stdout that went away is no error: sending goes on without printing.
    pub(super) fn add(
        &mut self,
        line: u64,
        topic: &str,
        outcome: Outcome,
        stages: Option<Stages>,
    ) -> Result<(), Failure> {
        let printed = match self.format {
            ResultFormat::Text if self.each => self.print_text(topic, &outcome, stages),
            ResultFormat::Text => Ok(()),
            ResultFormat::Json | ResultFormat::Jsonl => {
                let stages = stages.map(|stages| stages.values);
                self.print_json(&Row::new(line, topic, &outcome, stages))
            }
        };
        self.count(line, outcome);
        self.tolerate_reader_gone(printed)
    }

    /// Ends the output.
    ///
    /// # Errors
    /// Stdout failed.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let end = match self.output.as_mut() {
            Some(output) if self.format == ResultFormat::Json => {
                output.text(if self.printed == 0 { "[]\n" } else { "\n]\n" })
            }
            _ => Ok(()),
        };
        self.tolerate_reader_gone(end)?;
        self.flush()
    }

    /// Brings results to the reader.
    ///
    /// # Errors
    /// Stdout failed.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.output.as_mut().map_or(Ok(()), Output::flush);
        self.tolerate_reader_gone(flushed)
    }

    fn tolerate_reader_gone(&mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        match result {
            Err(failure) if failure.is_reader_gone() => {
                self.output = None;
                Ok(())
            }
            other => other,
        }
    }

    fn print_text(
        &mut self,
        topic: &str,
        outcome: &Outcome,
        stages: Option<Stages>,
    ) -> Result<(), Failure> {
        let Some(output) = self.output.as_mut() else {
            return Ok(());
        };
        if let Some(stages) = stages {
            if self.printed > 0 {
                output.line("")?;
            }
            for line in &stages.lines {
                output.line(line)?;
            }
        }
        self.printed += 1;
        match outcome {
            Outcome::Stored(result) => {
                output.text(&format!(
                    "{}  topic={} queue={}:{} offset={} msg_id={} offset_msg_id={}",
                    result.status,
                    topic,
                    result.queue.broker_name,
                    result.queue.queue_id,
                    result.queue_offset,
                    result.msg_id,
                    result.offset_msg_id
                ))?;
                if let Some(handle) = &result.recall_handle {
                    output.text(&format!(" recall_handle={handle}"))?;
                }
                output.line("")
            }
            // Offset and queue are those of the half message, which nobody reads.
            Outcome::Decided(result, decision) => output.line(format_args!(
                "{}  topic={} broker={} msg_id={} offset_msg_id={} ({})",
                result.status,
                topic,
                result.queue.broker_name,
                result.msg_id,
                result.offset_msg_id,
                match decision {
                    Decision::Commit => "committed: consumers get it",
                    Decision::Rollback => "rolled back: nobody gets it",
                    _ => "undecided: the broker asks the producers of the group",
                }
            )),
            Outcome::HandedOver => output.line(format_args!(
                "ONEWAY  topic={topic} (nobody confirms one-way messages)"
            )),
            Outcome::Failed(_) | Outcome::BadInput(_) => Ok(()),
        }
    }

    fn print_json(&mut self, row: &Row<'_>) -> Result<(), Failure> {
        let Some(output) = self.output.as_mut() else {
            return Ok(());
        };
        if self.format == ResultFormat::Json {
            output.text(if self.printed == 0 { "[\n" } else { ",\n" })?;
            self.printed += 1;
            return output.json_unterminated(row);
        }
        self.printed += 1;
        output.json(row)
    }

    fn count(&mut self, line: u64, outcome: Outcome) {
        let (kind, failure, own_fault) = match outcome {
            Outcome::Stored(result) | Outcome::Decided(result, _) => {
                self.acknowledged += 1;
                self.not_durable += u64::from(result.status != SendStatus::Ok);
                self.in_a_row = 0;
                return;
            }
            Outcome::HandedOver => {
                self.handed_over += 1;
                self.in_a_row = 0;
                return;
            }
            Outcome::Failed(error) => {
                let own_fault = matches!(
                    error.kind(),
                    ErrorKind::InvalidMessage | ErrorKind::MessageTooLarge
                );
                (
                    Kind::Client(error.kind(), error.response_code()),
                    Failure::from(error),
                    own_fault,
                )
            }
            Outcome::BadInput(reason) => (Kind::Input, Failure::new(reason), true),
        };
        self.failed += 1;
        if !own_fault {
            self.in_a_row += 1;
        }
        if let Some(cause) = self.causes.iter_mut().find(|cause| cause.kind == kind) {
            cause.times += 1;
        } else if self.causes.len() < MAX_CAUSES {
            self.causes.push(Cause {
                kind,
                times: 1,
                first_line: line,
                failure,
            });
        } else if let Some(last) = self.causes.last_mut() {
            last.kind = Kind::Other;
            last.times += 1;
        }
    }

    /// One line for stderr.
    pub(super) fn summary(&self, topic: &str, empty: u64, elapsed: Duration) -> String {
        let good = self.acknowledged + self.handed_over;
        let mut text = format!(
            "{} sent to {topic} in {:.2} s",
            counted(good, "message"),
            elapsed.as_secs_f64()
        );
        if good > 1 && !elapsed.is_zero() {
            #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = good as f64 / elapsed.as_secs_f64();
            let _ = write!(text, " ({rate:.0} msgs/s)");
        }
        text.push_str(match self.mode {
            Mode::Oneway => ", none confirmed (one-way)",
            Mode::Sync | Mode::Async if self.failed == 0 && good > 0 => ", all acknowledged",
            Mode::Sync | Mode::Async => "",
        });
        if self.not_durable > 0 {
            let _ = write!(
                text,
                ", {} of them not yet flushed or replicated",
                self.not_durable
            );
        }
        if self.failed > 0 {
            let _ = write!(text, ", {} failed", self.failed);
        }
        if empty > 0 {
            let _ = write!(text, ", {} skipped", counted(empty, "empty line"));
        }
        text
    }

    /// The failure of the command, if a message failed.
    pub(super) fn failure(&mut self, given_up: bool) -> Option<Failure> {
        if self.failed == 0 {
            return None;
        }
        if self.done() == 1 && !given_up {
            return self.causes.pop().map(|cause| cause.failure);
        }
        let mut message = format!(
            "{} of {} failed",
            self.failed,
            counted(self.done(), "message")
        );
        if given_up {
            message.push_str(", and the rest was not tried after so many failures in a row (--keep-going tries all)");
        }
        let mut detail = String::new();
        let mut hint = None;
        for cause in &self.causes {
            let _ = write!(
                message,
                "\n  {} x, first in line {}: {}",
                cause.times, cause.first_line, cause.failure
            );
            if let Some(attempts) = cause.failure.detail_text() {
                let _ = write!(detail, "line {}:\n{attempts}\n", cause.first_line);
            }
            hint = hint.or_else(|| cause.failure.hint_text());
        }
        let failure = Failure::new(message).detail(detail);
        Some(match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        })
    }
}

/// One result as JSON.
#[derive(Debug, Serialize)]
struct Row<'a> {
    line: u64,
    topic: &'a str,
    #[serde(flatten)]
    outcome: RowOutcome<'a>,
    /// What the send went through.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Vec<Value>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum RowOutcome<'a> {
    Stored {
        status: &'static str,
        msg_id: &'a str,
        offset_msg_id: &'a str,
        broker: &'a str,
        queue_id: i32,
        queue_offset: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        recall_handle: Option<&'a str>,
        /// How the transaction ended; queue and offset are then those of the half message.
        #[serde(skip_serializing_if = "Option::is_none")]
        transaction: Option<&'static str>,
    },
    HandedOver {
        status: &'static str,
    },
    Failed {
        error: RowError<'a>,
    },
}

/// `kind` names the class of failure, `code` the answer of the broker, `java_code` what Java's client reports.
#[derive(Debug, Serialize)]
struct RowError<'a> {
    kind: String,
    code: Option<i32>,
    java_code: Option<i32>,
    message: String,
    maybe_stored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn new(line: u64, topic: &'a str, outcome: &'a Outcome, explain: Option<Vec<Value>>) -> Self {
        let stored = |result: &'a SendResult, decision: Option<Decision>| RowOutcome::Stored {
            status: result.status.as_str(),
            msg_id: &result.msg_id,
            offset_msg_id: &result.offset_msg_id,
            broker: &result.queue.broker_name,
            queue_id: result.queue.queue_id,
            queue_offset: result.queue_offset,
            recall_handle: result.recall_handle.as_deref(),
            transaction: decision.map(Decision::as_str),
        };
        let outcome = match outcome {
            Outcome::Stored(result) => stored(result, None),
            Outcome::Decided(result, decision) => stored(result, Some(*decision)),
            Outcome::HandedOver => RowOutcome::HandedOver { status: "ONEWAY" },
            Outcome::Failed(error) => RowOutcome::Failed {
                error: RowError {
                    kind: format!("{:?}", error.kind()),
                    code: error.response_code().map(|code| code.0),
                    java_code: Some(error.java_code()),
                    message: error.to_string(),
                    maybe_stored: error.maybe_stored(),
                    hint: error.hint(),
                },
            },
            Outcome::BadInput(reason) => RowOutcome::Failed {
                error: RowError {
                    kind: "InvalidInput".to_owned(),
                    code: None,
                    java_code: None,
                    message: reason.clone(),
                    maybe_stored: false,
                    hint: None,
                },
            },
        };
        Self {
            line,
            topic,
            outcome,
            explain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: impl IntoIterator<Item = Outcome>) -> Report {
        let mut report = Report::new(None, ResultFormat::Text, Mode::Oneway, false);
        for (line, outcome) in (1..).zip(outcomes) {
            report.add(line, "T", outcome, None).unwrap();
        }
        report
    }

    #[test]
    fn failures_are_grouped_by_cause_with_the_first_line() {
        let mut report = report([
            Outcome::HandedOver,
            Outcome::BadInput("no body".to_owned()),
            Outcome::HandedOver,
            Outcome::BadInput("no brace".to_owned()),
        ]);
        assert_eq!(
            report.summary("T", 2, Duration::from_secs(1)),
            "2 messages sent to T in 1.00 s (2 msgs/s), none confirmed (one-way), 2 failed, 2 empty lines skipped"
        );
        assert!(
            !report.is_hopeless(0),
            "bad lines say nothing about the cluster"
        );
        let failure = report.failure(false).unwrap();
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(
            failure.to_string(),
            "2 of 4 messages failed\n  2 x, first in line 2: no body"
        );
    }

    #[test]
    fn a_single_failure_speaks_for_itself() {
        let mut report = report([Outcome::BadInput("no body".to_owned())]);
        assert_eq!(report.failure(false).unwrap().to_string(), "no body");
    }

    #[test]
    fn nothing_failed() {
        let mut report = report([Outcome::HandedOver]);
        assert!(report.failure(false).is_none());
        assert_eq!(
            report.summary("T", 0, Duration::ZERO),
            "1 message sent to T in 0.00 s, none confirmed (one-way)"
        );
    }
}
