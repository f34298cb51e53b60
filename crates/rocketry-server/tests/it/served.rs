//! Which requests are served at all.

use rocketry_protocol::{RemotingCommand, RequestCode};

use crate::common::Wire;

/// What clients, consoles and `mqadmin` send to a broker.
const BY_THE_BROKER: [i32; 75] = [
    10, 11, 12, 14, 15, 17, 18, 21, 25, 26, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 41, 42, 46,
    200, 201, 202, 203, 204, 207, 208, 215, 222, 223, 225, 300, 303, 305, 306, 307, 309, 310, 314,
    315, 316, 317, 320, 321, 324, 325, 328, 329, 343, 345, 351, 352, 353, 361, 370, 400, 401, 3001,
    3002, 3003, 3004, 3005, 3006, 3007, 3008, 3009, 3010, 200_050, 200_051, 200_053, 200_151,
];

/// Those of proxies, and for replicas that ask about offsets.
const BY_THE_BROKER_AS_WELL: [i32; 6] = [43, 45, 61, 308, 200_054, 200_055];

/// What they send to a name server, and what its brokers do.
const BY_THE_NAME_SERVER: [i32; 31] = [
    100, 101, 102, 103, 104, 105, 106, 205, 206, 216, 217, 219, 224, 304, 311, 312, 313, 318, 319,
    322, 327, 3001, 3002, 3003, 3004, 3005, 3006, 3009, 3010, 901, 904,
];

/// Replication, controllers, cold data, lite topics and stores of other kinds: tools probe for them, and are told that they are not there.
const NOT_SERVED: [i32; 12] = [
    60, 323, 354, 355, 402, 513, 2001, 5001, 200_052, 200_056, 200_070, 1001,
];

/// S-014: nothing that a client or tool needs is answered "not supported", not even a request that lacks everything.
#[tokio::test]
async fn s014_what_clients_and_tools_send_is_served() {
    let wire = Wire::start().await;
    for code in BY_THE_BROKER.into_iter().chain(BY_THE_BROKER_AS_WELL) {
        let response = wire.broker(bare(code)).await;
        assert_ne!(response.code, 3, "{code}: {:?}", response.remark);
    }
    for code in BY_THE_NAME_SERVER {
        let response = wire.namesrv(bare(code)).await;
        assert_ne!(response.code, 3, "{code}: {:?}", response.remark);
    }
    for code in NOT_SERVED {
        let response = wire.broker(bare(code)).await;
        assert_eq!(
            (response.code, response.remark),
            (3, Some(format!(" request type {code} not supported")))
        );
    }
}

fn bare(code: i32) -> RemotingCommand {
    RemotingCommand::bare_request(RequestCode(code))
}
