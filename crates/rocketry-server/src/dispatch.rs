//! The server's table of contents: which processor serves which request code, on which port.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rocketry_protocol::{RemotingCommand, RequestCode, ResponseCode};
use rocketry_remoting::{Connection, Handler, Responder};
use tokio_util::task::TaskTracker;

use crate::{
    access::{self, Account, Accounts, Caller, Guard},
    admission::Admission,
    advertise::AsTheyCame,
    announce,
    broker::Broker,
    clock,
    fault::{Fault, Reply, into_response},
    kv_config::KvConfig,
    name_server::NameServer,
    processor::{
        ack, admin_access, admin_broker, admin_client, admin_group, admin_offset, admin_stats,
        admin_topic, assignment, end_transaction, heartbeat, name_server as ns, offset, pop, pull,
        query, recall, reply, send, send_back,
    },
};

/// Clients after this version know how to go on elsewhere when a server stops. Java: `MQVersion.Version.V5_3_1`.
const GO_AWAY_AFTER_VERSION: i32 = 475;

/// The name server's port.
#[derive(Debug)]
pub(crate) struct NameServerPort {
    pub(crate) tables: Arc<NameServer>,
    pub(crate) kv: Arc<KvConfig>,
    pub(crate) admission: Arc<Admission>,
    /// The broker of this process, where clients are told the address that they came to.
    pub(crate) own: Option<AsTheyCame>,
    /// Users, managed over the wire: a name server alone has its own.
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) guard: Option<Arc<Guard>>,
    /// Whether routes carry their topic's order configuration.
    pub(crate) with_order: AtomicBool,
    pub(crate) port: u16,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: Arc<AtomicBool>,
}

impl Handler for NameServerPort {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        let refused = go_away(&self.stopping, &request)
            .or_else(|| self.admission.refuse(&request, responder.connection()));
        if let Some(response) = refused {
            responder.respond(response);
            return;
        }
        let guard = self.guard.as_deref();
        let guard = guard.filter(|_| !access::is_route_query(request.request_code()));
        let caller = match admit(guard, &request, &responder) {
            Ok(caller) => caller,
            Err(fault) => return responder.respond(fault.into_response()),
        };
        if access::USER_CODES.contains(&request.code) {
            let (accounts, tasks) = (&self.accounts, &self.tasks);
            return admin_access::manage(accounts, tasks, request, caller, responder);
        }
        if let Some(reply) = self.dispatch(&request, &responder) {
            responder.respond(into_response(reply));
        } else {
            self.write_kv(request, responder);
        }
    }

    fn closed(&self, connection: &Connection) {
        self.tables.connection_closed(connection.id());
    }
}

impl NameServerPort {
    /// `None` for what writes a file, which does not belong on a connection's task.
    fn dispatch(&self, request: &RemotingCommand, responder: &Responder) -> Option<Reply> {
        let (tables, kv) = (&*self.tables, &*self.kv);
        let now_ms = clock::wall_ms();
        let local = responder.connection().local_addr();
        let seen = || self.own.as_ref().and_then(|own| own.seen_from(local));
        Some(match request.request_code() {
            RequestCode::GET_ROUTEINFO_BY_TOPIC => {
                let with_order = self.with_order.load(Ordering::Relaxed);
                ns::route(tables, kv, with_order, seen(), request)
            }
            RequestCode::REGISTER_BROKER => {
                ns::register(tables, kv, request, responder.connection().id(), now_ms)
            }
            RequestCode::UNREGISTER_BROKER => ns::unregister(tables, request),
            RequestCode::QUERY_DATA_VERSION => ns::query_data_version(tables, request, now_ms),
            RequestCode::BROKER_HEARTBEAT => ns::heartbeat(tables, request, now_ms),
            RequestCode::GET_BROKER_MEMBER_GROUP => ns::member_group(tables, seen(), request),
            RequestCode::GET_BROKER_CLUSTER_INFO => ns::cluster_info(tables, seen()),
            RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => ns::all_topics(tables),
            RequestCode::GET_TOPICS_BY_CLUSTER => ns::topics_by_cluster(tables, request),
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS => ns::system_topics(tables, seen()),
            RequestCode::GET_UNIT_TOPIC_LIST => ns::unit_topics(tables, |flag| flag & 1 != 0),
            RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST => {
                ns::unit_topics(tables, |flag| flag & 2 != 0)
            }
            RequestCode::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => {
                ns::unit_topics(tables, |flag| flag & 3 == 2)
            }
            RequestCode::DELETE_TOPIC_IN_NAMESRV => ns::delete_topic(tables, request),
            RequestCode::REGISTER_TOPIC_IN_NAMESRV => ns::register_topic(tables, request),
            RequestCode::WIPE_WRITE_PERM_OF_BROKER => ns::wipe_write_perm(tables, request),
            RequestCode::ADD_WRITE_PERM_OF_BROKER => ns::add_write_perm(tables, request),
            RequestCode::GET_KV_CONFIG => ns::get_kv(kv, request),
            RequestCode::GET_KVLIST_BY_NAMESPACE => ns::kv_list(kv, request),
            RequestCode::GET_NAMESRV_CONFIG => Ok(ns::config(&self.with_order, self.port)),
            RequestCode::UPDATE_NAMESRV_CONFIG => ns::update_config(&self.with_order, request),
            RequestCode::PUT_KV_CONFIG | RequestCode::DELETE_KV_CONFIG => return None,
            _ => unsupported(request),
        })
    }

    fn write_kv(&self, request: RemotingCommand, responder: Responder) {
        let kv = Arc::clone(&self.kv);
        self.tasks.spawn_blocking(move || {
            let reply = if request.request_code() == RequestCode::PUT_KV_CONFIG {
                ns::put_kv(&kv, &request)
            } else {
                ns::delete_kv(&kv, &request)
            };
            responder.respond(into_response(reply));
        });
    }
}

/// A port of the broker.
#[derive(Debug)]
pub(crate) struct BrokerPort {
    pub(crate) broker: Arc<Broker>,
    /// Sends here never queue behind pulls: there are none. Java: `fastRemotingServer`.
    pub(crate) is_fast: bool,
}

impl Handler for BrokerPort {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        let broker = &*self.broker;
        let refused = go_away(&broker.stopping, &request)
            .or_else(|| broker.admission.refuse(&request, responder.connection()));
        if let Some(response) = refused {
            responder.respond(response);
            return;
        }
        let caller = match admit(broker.guard.as_deref(), &request, &responder) {
            Ok(caller) => caller,
            Err(fault) => return responder.respond(fault.into_response()),
        };
        if self.is_fast && is_read(request.request_code()) {
            responder.respond(into_response(unsupported(&request)));
            return;
        }
        let now_ms = clock::wall_ms();
        let reader = &broker.reader;
        let connection = responder.connection();
        let asking = || {
            let (from, code) = (connection.peer_addr().ip(), request.request_code());
            match broker.guard.as_deref() {
                Some(guard) => guard.caller(caller.as_deref(), from, code),
                None => Caller::anybody(from, code),
            }
        };
        let reply = match request.request_code() {
            // These answer later.
            RequestCode::SEND_MESSAGE
            | RequestCode::SEND_MESSAGE_V2
            | RequestCode::SEND_BATCH_MESSAGE => {
                return send::send(broker, request, responder, now_ms);
            }
            RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
                return pull::pull(broker, &request, responder);
            }
            RequestCode::CONSUMER_SEND_MSG_BACK => {
                return send_back::send_back(broker, &request, asking(), responder);
            }
            RequestCode::SEND_REPLY_MESSAGE | RequestCode::SEND_REPLY_MESSAGE_V2 => {
                return reply::reply(&self.broker, &request, responder);
            }
            RequestCode::RECALL_MESSAGE => return recall::recall(broker, &request, responder),
            RequestCode::QUERY_MESSAGE => return query::by_key(broker, request, responder),
            RequestCode::POP_MESSAGE => return pop::pop(&self.broker, &request, responder),
            RequestCode::NOTIFICATION => {
                return pop::notification(&self.broker, &request, responder);
            }
            RequestCode::ACK_MESSAGE => return ack::ack(&self.broker, &request, responder),
            RequestCode::BATCH_ACK_MESSAGE => {
                return ack::batch_ack(&self.broker, &request, responder);
            }
            RequestCode::CHANGE_MESSAGE_INVISIBLETIME => {
                return ack::change_invisible_time(&self.broker, &request, responder);
            }
            RequestCode::SET_MESSAGE_REQUEST_MODE => {
                return assignment::set_mode(&self.broker, &request, responder);
            }
            RequestCode::END_TRANSACTION => {
                return end_transaction::end(broker, &request, asking(), responder);
            }
            RequestCode::UPDATE_AND_CREATE_TOPIC => {
                return admin_topic::create(broker, &request, responder);
            }
            RequestCode::UPDATE_AND_CREATE_TOPIC_LIST => {
                return admin_topic::create_list(broker, &request, responder);
            }
            RequestCode::DELETE_TOPIC_IN_BROKER => {
                return admin_topic::delete(broker, &request, responder);
            }
            RequestCode::UPDATE_AND_GET_GROUP_FORBIDDEN => {
                return admin_group::forbid(broker, &request, responder);
            }
            RequestCode::DELETE_EXPIRED_COMMITLOG => {
                return admin_broker::delete_expired(broker, responder);
            }
            RequestCode::CLEAN_UNUSED_TOPIC => return admin_topic::clean_unused(broker, responder),
            RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => {
                return admin_group::create(broker, &request, responder);
            }
            RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => {
                return admin_group::create_list(broker, &request, responder);
            }
            RequestCode::DELETE_SUBSCRIPTIONGROUP => {
                return admin_group::delete(broker, &request, responder);
            }
            RequestCode::INVOKE_BROKER_TO_RESET_OFFSET => {
                return admin_offset::reset(broker, &request, responder, now_ms);
            }
            RequestCode::CLONE_GROUP_OFFSET => {
                return admin_offset::copy(broker, &request, responder, now_ms);
            }
            RequestCode::GET_CONSUMER_RUNNING_INFO => {
                return admin_client::running_info(broker, &request, responder);
            }
            RequestCode::CONSUME_MESSAGE_DIRECTLY => {
                return admin_client::consume_directly(broker, &request, asking(), responder);
            }
            RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => {
                return admin_client::consumer_status(broker, &request, responder);
            }
            code if access::USER_CODES.contains(&code.0) => {
                let (accounts, tasks) = (&broker.accounts, &broker.tasks);
                return admin_access::manage(accounts, tasks, request, caller, responder);
            }

            RequestCode::QUERY_CONSUMER_OFFSET => offset::query_consumer(broker, &request),
            RequestCode::UPDATE_CONSUMER_OFFSET => {
                offset::update_consumer(broker, &request, now_ms)
            }
            RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => offset::search(reader, &request),
            RequestCode::GET_MAX_OFFSET => offset::max(reader, &request),
            RequestCode::GET_MIN_OFFSET => offset::min(reader, &request),
            RequestCode::GET_EARLIEST_MSG_STORETIME => {
                offset::earliest_store_time(reader, &request)
            }
            RequestCode::POLLING_INFO => pop::polling_info(broker, &request),
            RequestCode::QUERY_ASSIGNMENT => assignment::query(broker, &request),
            RequestCode::VIEW_MESSAGE_BY_ID => query::view(reader, &request, asking()),

            RequestCode::HEART_BEAT => {
                let user = caller.as_deref().map(Account::name);
                heartbeat::heartbeat(broker, &request, connection, user, now_ms)
            }
            RequestCode::UNREGISTER_CLIENT => heartbeat::unregister(broker, &request, connection),
            RequestCode::CHECK_CLIENT_CONFIG => heartbeat::check_client(broker, &request),
            RequestCode::GET_CONSUMER_LIST_BY_GROUP => heartbeat::consumer_list(broker, &request),
            RequestCode::LOCK_BATCH_MQ => heartbeat::lock(broker, &request, now_ms),
            RequestCode::UNLOCK_BATCH_MQ => heartbeat::unlock(broker, &request),

            RequestCode::GET_ALL_TOPIC_CONFIG => admin_topic::all(broker, &request),
            RequestCode::GET_TOPIC_CONFIG => admin_topic::config(broker, &request),
            RequestCode::GET_TOPIC_STATS_INFO => admin_topic::stats(broker, &request),
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => admin_topic::system(broker),

            RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => admin_group::all(broker, &request),
            RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG => {
                admin_group::config(broker, &request, now_ms)
            }
            RequestCode::GET_CONSUMER_CONNECTION_LIST => admin_group::consumers(broker, &request),
            RequestCode::GET_PRODUCER_CONNECTION_LIST => admin_group::producers(broker, &request),
            RequestCode::GET_CONSUME_STATS => admin_group::consume_stats(broker, &request),
            RequestCode::QUERY_TOPIC_CONSUME_BY_WHO => admin_group::of_topic(broker, &request),
            RequestCode::QUERY_TOPICS_BY_CONSUMER => admin_group::topics(broker, &request),

            RequestCode::QUERY_SUBSCRIPTION_BY_CONSUMER => {
                admin_offset::subscription(broker, &request)
            }
            RequestCode::GET_ALL_PRODUCER_INFO => admin_client::all_producers(broker),

            RequestCode::QUERY_CONSUME_TIME_SPAN => {
                admin_stats::time_span(broker, &request, now_ms)
            }
            RequestCode::QUERY_CORRECTION_OFFSET => admin_stats::correction(broker, &request),
            RequestCode::VIEW_BROKER_STATS_DATA => admin_stats::rates(broker, &request),
            RequestCode::GET_BROKER_CONSUME_STATS => admin_stats::of_broker(broker, &request),
            RequestCode::QUERY_CONSUME_QUEUE => admin_stats::queue(broker, &request),

            RequestCode::UPDATE_BROKER_CONFIG => admin_broker::update(broker, &request, now_ms),
            RequestCode::GET_ALL_CONSUMER_OFFSET => admin_broker::consumer_offsets(broker),
            RequestCode::GET_ALL_DELAY_OFFSET => admin_broker::delay_offsets(broker),
            RequestCode::GET_TIMER_METRICS => admin_broker::timer_metrics(broker),
            // Queues end with the log that they point to, and keep their numbers.
            RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE => {
                Ok(RemotingCommand::response(ResponseCode::SUCCESS))
            }
            RequestCode::GET_BROKER_RUNTIME_INFO => admin_broker::runtime_info(broker, now_ms),
            RequestCode::GET_BROKER_CONFIG => admin_broker::config(broker),
            _ => unsupported(&request),
        };
        responder.respond(into_response(reply));
    }

    fn caught_up(&self, more: bool) {
        self.broker.writer.carry_out(more);
    }

    fn closed(&self, connection: &Connection) {
        let broker = &*self.broker;
        broker.holds.closed(connection.id());
        broker.pops.polls.closed(connection.id());
        let changes = broker.clients.lock().closed(connection.id());
        for change in changes {
            announce::consumers_changed(broker, change);
        }
    }
}

/// Who sent the request; `None` where nobody is asked.
fn admit(
    guard: Option<&Guard>,
    request: &RemotingCommand,
    responder: &Responder,
) -> Result<Option<Arc<Account>>, Fault> {
    match guard {
        Some(guard) => guard.admit(request, responder.connection().peer_addr().ip()),
        None => Ok(None),
    }
}

/// What the fast port does not serve. Java: `BrokerController.registerProcessor`.
fn is_read(code: RequestCode) -> bool {
    matches!(
        code,
        RequestCode::PULL_MESSAGE
            | RequestCode::LITE_PULL_MESSAGE
            | RequestCode::POP_MESSAGE
            | RequestCode::NOTIFICATION
            | RequestCode::POLLING_INFO
    )
}

fn unsupported(request: &RemotingCommand) -> Reply {
    Err(Fault::new(
        ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
        format!(" request type {} not supported", request.code),
    ))
}

/// While the server stops, clients that understand it are told to go elsewhere.
fn go_away(stopping: &AtomicBool, request: &RemotingCommand) -> Option<RemotingCommand> {
    (stopping.load(Ordering::Acquire) && request.version > GO_AWAY_AFTER_VERSION)
        .then(|| Fault::new(ResponseCode::GO_AWAY, "please go away").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-017.
    #[test]
    fn s017_clients_that_understand_it_are_told_to_go_while_the_server_stops() {
        let stopping = AtomicBool::new(false);
        let mut request = RemotingCommand::bare_request(RequestCode::GET_MAX_OFFSET);
        request.version = 513;
        assert!(go_away(&stopping, &request).is_none());
        stopping.store(true, Ordering::Release);
        let response = go_away(&stopping, &request).unwrap();
        assert_eq!(
            (response.code, response.remark.as_deref()),
            (1500, Some("please go away"))
        );
        request.version = 475;
        assert!(go_away(&stopping, &request).is_none());
    }
}
