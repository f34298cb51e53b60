//! The same requests, good and bad, sent raw to our server and to Apache's; every reply is compared field by field.

mod accepted;
mod json;
mod reply;
mod script;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rocketry_protocol::{Fields, RemotingCommand};
use tokio::time::sleep;

pub(crate) use accepted::ACCEPTED;

use super::Case;
use crate::interop::world::{Target, World};
use crate::{Result, clock, output};
use reply::{Difference, Facts, differences, facts};
use script::{Step, To, steps};
use wire::{Answer, Wire};

/// Routes and indexes follow a write a moment later: so long after one a request that only reads is asked again.
const SETTLED: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(300);

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("differential", |world| {
        Box::pin(differential(world))
    })]
}

/// One of the two systems.
#[derive(Debug)]
struct Side {
    broker: Wire,
    name_server: Wire,
    /// What replies said, for the requests that refer to them.
    said: BTreeMap<String, String>,
}

impl Side {
    async fn new(world: &mut World, target: Target) -> Result<Self> {
        let name_server = world.namesrv(target).await?;
        let broker = world.broker(target)?;
        let mut said = BTreeMap::new();
        said.insert("broker".to_owned(), broker.clone());
        said.insert("now".to_owned(), clock::wall_ms().to_string());
        Ok(Self {
            broker: Wire::new(broker),
            name_server: Wire::new(name_server),
            said,
        })
    }

    async fn ask(&mut self, step: &Step) -> Result<Facts> {
        let command = step.command(&|name| self.said.get(name).cloned())?;
        let wire = match step.to {
            To::Broker => &mut self.broker,
            To::NameServer => &mut self.name_server,
        };
        let answer = wire.call(command).await?;
        if let Answer::Reply(reply) = &answer {
            self.remember(&step.name, reply);
        }
        Ok(facts(step.code, &answer, clock::wall_ms()))
    }

    fn remember(&mut self, step: &str, reply: &RemotingCommand) {
        for (name, value) in reply.fields.iter().flat_map(Fields::iter) {
            let value = value.unwrap_or_default();
            self.said.insert(format!("{step}.{name}"), value.to_owned());
            // The second half of an offset id.
            let place = value
                .get(16..)
                .and_then(|digits| u64::from_str_radix(digits, 16).ok());
            if let (true, Some(place)) = (name == "msgId" && value.len() == 32, place) {
                self.said
                    .insert(format!("{step}.logOffset"), place.to_string());
            }
        }
    }
}

/// S-018: what is answered to a good, a bad, an incomplete request is what Apache's answers, or a difference that is listed.
async fn differential(world: &mut World) -> Result {
    let mut fresh = world.anew("differential-systems")?.with_usual_settings();
    let compared = compare(&mut fresh).await;
    fresh.stop().await?;
    let (steps, found) = compared?;
    let dir = world.dir("differential")?;
    std::fs::write(dir.join("differences.md"), table(found.iter()))?;

    let mut used = vec![0_usize; ACCEPTED.len()];
    let unexplained: Vec<_> = found
        .iter()
        .filter(|difference| {
            let mut explained = false;
            for (known, used) in ACCEPTED.iter().zip(&mut used) {
                if known.covers(difference) {
                    *used += 1;
                    explained = true;
                }
            }
            !explained
        })
        .collect();
    output::line(format_args!(
        "{steps} steps, {} differences, {} of them not explained",
        found.len(),
        unexplained.len()
    ));
    let mut faults = String::new();
    if !unexplained.is_empty() {
        std::fs::write(
            dir.join("unexplained.md"),
            table(unexplained.iter().copied()),
        )?;
        let _ = write!(
            faults,
            "not explained:\n{}",
            table(unexplained.into_iter().take(40))
        );
    }
    for (known, used) in ACCEPTED.iter().zip(used) {
        if used == 0 && !known.at_times {
            let _ = writeln!(faults, "no longer there: {known:?}");
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.into())
    }
}

/// Runs the script against both; the number of steps, and all differences.
async fn compare(world: &mut World) -> Result<(usize, Vec<Difference>)> {
    let mut ours = Side::new(world, Target::Ours).await?;
    let mut theirs = Side::new(world, Target::Apache).await?;
    let steps = steps()?;
    let mut found = Vec::new();
    let mut written = clock::now();
    for step in &steps {
        loop {
            let (left, right) = (ours.ask(step).await?, theirs.ask(step).await?);
            let differences = differences(&step.name, &left, &right);
            let explained = differences
                .iter()
                .all(|difference| ACCEPTED.iter().any(|known| known.covers(difference)));
            if explained || !step.only_reads() || written.elapsed() > SETTLED {
                found.extend(differences);
                break;
            }
            sleep(PAUSE).await;
        }
        if !step.only_reads() {
            written = clock::now();
        }
    }
    Ok((steps.len(), found))
}

fn table<'a>(differences: impl Iterator<Item = &'a Difference>) -> String {
    const SHOWN: usize = 160;
    let shown = |value: &Option<String>| {
        let text = value.as_deref().unwrap_or("-").replace(['|', '\n'], " ");
        text.chars().take(SHOWN).collect::<String>()
    };
    let mut text = "| step | what | ours | Apache's |\n|---|---|---|---|\n".to_owned();
    for difference in differences {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            difference.step,
            difference.aspect,
            shown(&difference.ours),
            shown(&difference.theirs)
        );
    }
    text
}
