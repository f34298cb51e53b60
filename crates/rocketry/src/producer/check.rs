//! Brokers ask what became of a transaction: requests wait in a bounded queue, checkers of the application answer them.
//!
//! Java: `ClientRemotingProcessor.checkTransactionState`, `DefaultMQProducerImpl.checkTransactionState`.

use std::{fmt, sync::Arc, time::Duration};

use rocketry_protocol::{
    DecodeError, Group, MessageExt, Properties, RemotingCommand,
    header::{CheckTransactionStateRequest, EndTransactionRequest},
    properties::name,
    record::Record,
};
use rocketry_remoting::{Deadline, LogLimit};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    BoxFuture, IntoVerdict,
    hooks::Hooks,
    transaction::Ending,
    verdict::{Verdict, verdict_of},
};
use crate::{client::Core, config::ProducerConfig};

/// Looks up what became of a transaction: the application's code, whose panics are caught.
#[derive(Clone)]
pub(crate) struct Checker(Arc<Check>);

type Check = dyn Fn(MessageExt) -> BoxFuture<'static, Verdict> + Send + Sync;

impl Checker {
    pub(super) fn new<F, V>(check: F) -> Self
    where
        F: Fn(MessageExt) -> V + Send + Sync + 'static,
        V: IntoVerdict<Deciding: 'static> + 'static,
    {
        let check = Arc::new(check);
        Self(Arc::new(move |half| {
            let check = Arc::clone(&check);
            Box::pin(async move { verdict_of("transaction checker", || check(half)).await })
        }))
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checker")
    }
}

/// The questions of brokers to one producer.
#[derive(Debug)]
pub(crate) struct Checks {
    queue: mpsc::Sender<Question>,
    /// Room for questions that wait or are being answered, by the bytes they hold.
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

/// Most bytes of questions that wait: the number alone bounds nothing, as each holds a message.
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// How long handing over an answer may take. Java: the literal in `checkTransactionState`.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// A check request (39).
struct Question {
    request: RemotingCommand,
    /// The broker's address, as this client connected to it.
    address: Arc<str>,
    _room: OwnedSemaphorePermit,
}

impl Checks {
    /// Starts the task that lets `checker` answer. It ends with the producer or the client.
    pub(super) fn start(
        checker: Checker,
        group: Group,
        hooks: Hooks,
        config: &ProducerConfig,
        core: &Arc<Core>,
    ) -> Self {
        let (queue, questions) = mpsc::channel(config.transaction_check_queue);
        let stop = core.stop.child_token();
        let answering = Answering {
            checker,
            group,
            hooks,
            core: Arc::clone(core),
        };
        let checks = config.transaction_checks;
        core.tasks
            .spawn(run(questions, Arc::new(answering), checks, stop.clone()));
        Self {
            queue,
            room: Arc::new(Semaphore::new(WAITING_BYTES)),
            stop,
        }
    }

    /// Takes no more questions, and leaves those that wait to other producers of the group.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    fn take(&self, request: RemotingCommand, address: &str) -> Result<(), &'static str> {
        let bytes = u32::try_from(request.body.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
        let question = Question {
            request,
            address: address.into(),
            _room: room.map_err(|_| "the messages that wait for a check are too large")?,
        };
        self.queue
            .try_send(question)
            .map_err(|_| "too many messages wait for a check")
    }
}

/// A checker that runs does not outlive its producer.
impl Drop for Checks {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Takes a check request to the producer that it is for. What cannot be answered is left to the broker, which asks again.
pub(crate) fn ask(core: &Core, request: RemotingCommand, address: &str) {
    let group = match group_of(&request) {
        Ok(Some(group)) => group,
        Ok(None) => {
            return tracing::debug!(%address, "a half message to check names no producer group");
        }
        Err(error) => {
            return tracing::debug!(%address, %error, "a half message to check cannot be read");
        }
    };
    let Some(producer) = core.live_producer(&group) else {
        return tracing::debug!(%address, group, "a check for a producer that is not here");
    };
    let Some(checks) = &producer.checks else {
        return tracing::debug!(%address, group, "a check for a producer without a checker");
    };
    if let Err(reason) = checks.take(request, address) {
        static LIMIT: LogLimit = LogLimit::new();
        if let Some(held_back) = LIMIT.pass() {
            tracing::warn!(%address, group, reason, held_back, "a check is left to the broker to repeat");
        }
    }
}

/// The producer group of the message to check. Reads no more than that: this runs on the connection's reading task.
fn group_of(request: &RemotingCommand) -> Result<Option<String>, DecodeError> {
    let _: CheckTransactionStateRequest<'_> = request.header()?;
    let (record, _) = Record::parse(&request.body)?;
    let properties = Properties::parse_bytes(record.properties);
    Ok(properties.get(name::PGROUP).map(str::to_owned))
}

/// What answering a question takes.
struct Answering {
    checker: Checker,
    group: Group,
    hooks: Hooks,
    core: Arc<Core>,
}

async fn run(
    mut questions: mpsc::Receiver<Question>,
    answering: Arc<Answering>,
    checks: usize,
    stop: CancellationToken,
) {
    // what runs ends with this task
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(_) = running.join_next() => {}
            question = questions.recv(), if running.len() < checks => {
                let Some(question) = question else { return };
                let answering = Arc::clone(&answering);
                running.spawn(async move { answering.answer(question).await });
            }
        }
    }
}

impl Answering {
    async fn answer(&self, question: Question) {
        let Question {
            request, address, ..
        } = &question;
        if let Err(error) = self.try_answer(request, address).await {
            tracing::debug!(%address, %error, "a check is not answered");
        }
    }

    async fn try_answer(
        &self,
        request: &RemotingCommand,
        address: &str,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let header: CheckTransactionStateRequest<'_> = request.header()?;
        let broker: Arc<str> = header.broker_name.unwrap_or_default().into();
        let half = MessageExt::decode_all(&request.body, &broker)?
            .into_iter()
            .next()
            .ok_or("it holds no message")?;
        let half = self.core.namespace.unwrap_received(half);
        let msg_id = half.msg_id();
        let (topic, properties) = (Arc::clone(&half.topic), half.properties.clone());
        let verdict = (self.checker.0)(half).await;
        if let Some(failure) = &verdict.failure {
            static LIMIT: LogLimit = LogLimit::new();
            if let Some(held_back) = LIMIT.pass() {
                tracing::warn!(group = %self.group, msg_id, failure, held_back, "a transaction could not be checked");
            }
        }
        let ending = Ending {
            core: &self.core,
            hooks: &self.hooks,
            topic: &topic,
            properties: &properties,
            request: EndTransactionRequest {
                topic: header.topic,
                producer_group: self.group.as_str(),
                tran_state_table_offset: header.tran_state_table_offset,
                commit_log_offset: header.commit_log_offset,
                commit_or_rollback: verdict.decision.on_the_wire(),
                from_transaction_check: true,
                msg_id: &msg_id,
                transaction_id: header.transaction_id,
                broker_name: header.broker_name,
            },
            verdict: &verdict,
            address,
        };
        ending.send(Deadline::after(ANSWER_LIMIT)).await?;
        Ok(())
    }
}
