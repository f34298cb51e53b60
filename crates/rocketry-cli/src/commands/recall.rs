//! `rocketry recall`: take back a message that waits for its time.

use serde::Serialize;

use crate::{
    args::{self, Global, ReportFormat},
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    output::Output,
};

/// Recalls the message of the handle.
///
/// # Errors
/// What the broker answered, or that it did not.
pub(crate) async fn run(args: args::Recall, global: &Global) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Recalled<'a> {
        topic: &'a str,
        msg_id: &'a str,
    }
    let client = connect(global).await?;
    let producer = client.producer(&args.group).await?;
    let msg_id = producer.recall(&args.topic, &args.handle).await?;
    let mut output = Output::stdout();
    match args.format.output {
        ReportFormat::Json => output.pretty_json(&Recalled {
            topic: &args.topic,
            msg_id: &msg_id,
        })?,
        ReportFormat::Text => {
            output.line(format_args!("recalled {msg_id} of {}", args.topic))?;
        }
    }
    output.flush()?;
    client.shutdown(CLOSE_WITHIN).await;
    Ok(())
}
