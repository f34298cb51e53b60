//! Requests and responses recorded between Java's clients, brokers and name server, through the typed headers.

mod support;

use rocketry_protocol::{
    FieldWriter, Fields, RemotingCommand, Request, RequestCode, ResponseCode, WriteHeader,
    header::*,
};
use serde_json::Value;
use support::{for_each_case, same, text_or_empty, vectors};

/// Fields that all of Java's header classes inherit and that its client hooks add; typed headers leave them out.
const INHERITED: [&str; 5] = ["ns", "nsd", "oway", "lo", "ReqT"];

#[test]
fn recorded_headers_survive_reading_and_writing() {
    let Some(file) = vectors("exchanges.json") else {
        return;
    };
    for_each_case(&file, "exchanges", |case| {
        let request = command(&case["request"])?;
        same("code", Value::from(request.code), case["code"].clone())?;
        same("name", request.request_code().name(), case["name"].as_str())?;
        let response = match &case["response"] {
            Value::Null => None,
            response => Some(command(response)?),
        };
        if let Some(response) = &response {
            same("response", response.is_response(), true)?;
            same("opaque", response.opaque, request.opaque)?;
            same(
                "known code",
                response.response_code().name().is_some(),
                true,
            )?;
        }
        check(&request, response.as_ref())
    });
}

/// Reads and writes the headers of an exchange as the types of its code.
fn check(
    request: &RemotingCommand,
    response: Option<&RemotingCommand>,
) -> Result<(), Box<dyn std::error::Error>> {
    macro_rules! typed {
        ($($header:ty),* $(,)?) => {
            match request.request_code() {
                $(
                    <$header as Request>::CODE => {
                        let header = request.header::<$header>()?;
                        rewritten("request", request, &header)?;
                        same("code", RemotingCommand::request(&header).code, request.code)?;
                        if let Some(response) = response.filter(|response| has_reply(response)) {
                            let reply = response.header::<<$header as Request>::Reply>()?;
                            rewritten("reply", response, &reply)?;
                        }
                        Ok(())
                    }
                )*
                // All that is left travels without header fields.
                code => {
                    same(code, has_fields(request), false)?;
                    same(code, response.is_some_and(has_fields), false)
                }
            }
        };
    }
    typed! {
        SendMessageV1Request<'_>,
        SendMessageRequest<'_>,
        SendBatchMessageRequest<'_>,
        SendReplyMessageRequest<'_>,
        SendReplyMessageV1Request<'_>,
        PushReplyMessageRequest<'_>,
        ConsumerSendMsgBackRequest<'_>,
        EndTransactionRequest<'_>,
        CheckTransactionStateRequest<'_>,
        ResumeCheckHalfMessageRequest<'_>,
        RecallMessageRequest<'_>,
        PullMessageRequest<'_>,
        LitePullMessageRequest<'_>,
        QueryConsumerOffsetRequest<'_>,
        UpdateConsumerOffsetRequest<'_>,
        SearchOffsetRequest<'_>,
        GetMaxOffsetRequest<'_>,
        GetMinOffsetRequest<'_>,
        GetEarliestMsgStoretimeRequest<'_>,
        ViewMessageRequest<'_>,
        QueryMessageRequest<'_>,
        HeartbeatRequest,
        UnregisterClientRequest<'_>,
        GetConsumerListByGroupRequest<'_>,
        NotifyConsumerIdsChangedRequest<'_>,
        LockBatchMqRequest<'_>,
        UnlockBatchMqRequest<'_>,
        PopMessageRequest<'_>,
        AckMessageRequest<'_>,
        ChangeInvisibleTimeRequest<'_>,
        NotificationRequest<'_>,
        PollingInfoRequest<'_>,
        GetRouteInfoRequest<'_>,
        RegisterBrokerRequest<'_>,
        UnregisterBrokerRequest<'_>,
        QueryDataVersionRequest<'_>,
        BrokerHeartbeatRequest<'_>,
        GetTopicsByClusterRequest<'_>,
        DeleteTopicInNamesrvRequest<'_>,
        WipeWritePermOfBrokerRequest<'_>,
        AddWritePermOfBrokerRequest<'_>,
        PutKvConfigRequest<'_>,
        GetKvConfigRequest<'_>,
        DeleteKvConfigRequest<'_>,
        GetKvListByNamespaceRequest<'_>,
        CreateTopicRequest<'_>,
        CreateTopicListRequest,
        GetAllTopicConfigRequest<'_>,
        GetTopicConfigRequest<'_>,
        DeleteTopicRequest<'_>,
        GetTopicStatsInfoRequest<'_>,
        GetAllSubscriptionGroupConfigRequest<'_>,
        GetSubscriptionGroupConfigRequest<'_>,
        DeleteSubscriptionGroupRequest<'_>,
        UpdateGroupForbiddenRequest<'_>,
        GetConsumerConnectionListRequest<'_>,
        GetProducerConnectionListRequest<'_>,
        GetAllProducerInfoRequest,
        GetConsumeStatsRequest<'_>,
        GetBrokerConsumeStatsRequest,
        QueryTopicConsumeByWhoRequest<'_>,
        QueryTopicsByConsumerRequest<'_>,
        QuerySubscriptionByConsumerRequest<'_>,
        QueryConsumeTimeSpanRequest<'_>,
        QueryConsumeQueueRequest<'_>,
        ViewBrokerStatsDataRequest<'_>,
        ResetOffsetRequest<'_>,
        InvokeGetConsumerStatusRequest<'_>,
        GetConsumerStatusRequest<'_>,
        GetConsumerRunningInfoRequest<'_>,
        ConsumeMessageDirectlyRequest<'_>,
        CloneGroupOffsetRequest<'_>,
        QueryCorrectionOffsetRequest<'_>,
        GetBrokerConfigRequest,
        CreateUserRequest<'_>,
        UpdateUserRequest<'_>,
        DeleteUserRequest<'_>,
        GetUserRequest<'_>,
        ListUserRequest<'_>,
        CreateAclRequest<'_>,
        UpdateAclRequest<'_>,
        DeleteAclRequest<'_>,
        GetAclRequest<'_>,
        ListAclRequest<'_>,
    }
}

/// Failures have no typed reply; a pull without messages has one.
fn has_reply(response: &RemotingCommand) -> bool {
    matches!(
        response.response_code(),
        ResponseCode::SUCCESS
            | ResponseCode::PULL_NOT_FOUND
            | ResponseCode::PULL_RETRY_IMMEDIATELY
            | ResponseCode::PULL_OFFSET_MOVED
    )
}

fn rewritten(
    what: &str,
    command: &RemotingCommand,
    header: &impl WriteHeader,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut ours = Fields::default();
    header.write(&mut FieldWriter::new(&mut ours));
    let mut golden = command.fields.clone().unwrap_or_default();
    for name in INHERITED {
        // In this header `lo` is a field of its own.
        if !(name == "lo" && command.request_code() == RequestCode::GET_TOPIC_CONFIG) {
            golden.remove(name);
        }
    }
    same(what, ours, golden)
}

fn has_fields(command: &RemotingCommand) -> bool {
    command
        .fields
        .as_ref()
        .is_some_and(|fields| !fields.is_empty())
}

fn command(side: &Value) -> Result<RemotingCommand, Box<dyn std::error::Error>> {
    let header = text_or_empty(&side["header_text"]);
    let mut frame = u32::try_from(header.len())?.to_be_bytes().to_vec();
    frame.extend_from_slice(header.as_bytes());
    Ok(RemotingCommand::decode(frame.into())?)
}
