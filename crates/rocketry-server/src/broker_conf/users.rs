//! What a `broker.conf` says about users: who is let in, and as whom the broker comes to others.

use rocketry_protocol::{
    acl::Credentials,
    body::{self, access::UserInfo},
};
use serde::Deserialize;

use crate::{FirstUser, ServerConfig};

/// The settings as they stand in the file. They mean something together only, in whatever order they come.
#[derive(Debug, Default)]
pub(super) struct Users<'a> {
    permissions: Option<&'a str>,
    first: Option<&'a str>,
    inner: Option<&'a str>,
    open_codes: Option<&'a str>,
    unchecked_codes: Option<&'a str>,
}

/// Java: `SessionCredentials`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SessionCredentials {
    access_key: String,
    secret_key: String,
    security_token: Option<String>,
}

const FIRST: &str = "initAuthenticationUser";
const INNER: &str = "innerClientAuthenticationCredentials";
const OPEN_CODES: &str = "authenticationWhitelist";
const UNCHECKED_CODES: &str = "authorizationWhitelist";

impl<'a> Users<'a> {
    /// Whether `key` is one of these settings; keeps its value.
    pub(super) fn takes(&mut self, key: &str, value: &'a str) -> bool {
        let place = match key {
            "authorizationEnabled" => &mut self.permissions,
            FIRST => &mut self.first,
            INNER => &mut self.inner,
            OPEN_CODES => &mut self.open_codes,
            UNCHECKED_CODES => &mut self.unchecked_codes,
            _ => return false,
        };
        *place = Some(value);
        true
    }

    /// Faults name no values: they are secrets.
    pub(super) fn apply(
        self,
        config: &mut ServerConfig,
        ignored: &mut Vec<String>,
        faults: &mut Vec<String>,
    ) {
        let inner = match self.inner.filter(|text| !text.is_empty()).map(credentials) {
            Some(Ok(inner)) => Some(inner),
            Some(Err(fault)) => {
                faults.push(format!("{INNER}: {fault}"));
                None
            }
            None => None,
        };
        // a file that says nothing of it changes nothing
        if inner.is_some() {
            config.name_server_credentials.clone_from(&inner);
        }
        let Some(access) = &mut config.access else {
            let only_with_users = [
                (FIRST, self.first),
                (OPEN_CODES, self.open_codes),
                (UNCHECKED_CODES, self.unchecked_codes),
            ];
            let given = only_with_users.iter().filter(|(_, value)| value.is_some());
            ignored.extend(given.map(|(key, _)| (*key).to_owned()));
            return;
        };
        if inner.is_some() {
            access.inner_user = inner;
        }
        if let Some(permissions) = self.permissions {
            access.permissions = permissions == "true";
        }
        match self.first.filter(|text| !text.is_empty()).map(first_user) {
            Some(Ok(first)) => access.first_user = first,
            Some(Err(fault)) => faults.push(format!("{FIRST}: {fault}")),
            None => {}
        }
        for (key, value, codes) in [
            (OPEN_CODES, self.open_codes, &mut access.open_codes),
            (
                UNCHECKED_CODES,
                self.unchecked_codes,
                &mut access.unchecked_codes,
            ),
        ] {
            match value.map(request_codes) {
                Some(Ok(given)) => *codes = given,
                Some(Err(fault)) => faults.push(format!("{key}: {fault}")),
                None => {}
            }
        }
    }
}

/// Java: `AuthenticationMetadataManagerImpl.initUser`.
fn first_user(text: &str) -> Result<FirstUser, &'static str> {
    const WANTED: &str = r#"not {"username":"...","password":"..."}"#;
    let user: UserInfo = body::decode(text.as_bytes()).map_err(|_| WANTED)?;
    let secret = user.password.unwrap_or_default();
    if user.username.trim().is_empty() || secret.trim().is_empty() {
        return Err(WANTED);
    }
    Ok(FirstUser::Named {
        name: user.username,
        secret,
    })
}

/// Java: `BrokerOuterAPI.newAclRPCHook`.
fn credentials(text: &str) -> Result<Credentials, &'static str> {
    const WANTED: &str = r#"not {"accessKey":"...","secretKey":"..."}"#;
    let given: SessionCredentials = body::decode(text.as_bytes()).map_err(|_| WANTED)?;
    if given.access_key.trim().is_empty() || given.secret_key.trim().is_empty() {
        return Err(WANTED);
    }
    Ok(Credentials {
        access_key: given.access_key,
        secret_key: given.secret_key,
        security_token: given.security_token,
    })
}

fn request_codes(text: &str) -> Result<Vec<i32>, &'static str> {
    let codes = text.split(',').map(str::trim);
    codes
        .filter(|code| !code.is_empty())
        .map(|code| code.parse().map_err(|_| "not numbers with commas between"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerError;

    #[test]
    fn users_and_the_brokers_own_credentials_are_taken_over() {
        let mut config = ServerConfig::default();
        let ignored = config
            .apply_broker_conf(
                "initAuthenticationUser={\"username\":\"root\",\"password\":\"s1\"}\n\
                 innerClientAuthenticationCredentials = {\"accessKey\":\"inner\",\"secretKey\":\"s2\"}\n\
                 authenticationWhitelist=105, 106\n\
                 authorizationWhitelist=310\n\
                 authenticationEnabled=true\n",
            )
            .unwrap();
        assert!(ignored.is_empty(), "{ignored:?}");
        let own = config.name_server_credentials.unwrap();
        assert_eq!((&*own.access_key, &*own.secret_key), ("inner", "s2"));
        let access = config.access.unwrap();
        let first = FirstUser::Named {
            name: "root".to_owned(),
            secret: "s1".to_owned(),
        };
        assert_eq!(access.first_user, first);
        assert_eq!(access.inner_user.unwrap().access_key, "inner");
        assert_eq!(
            (&*access.open_codes, &*access.unchecked_codes),
            (&[105, 106][..], &[310][..])
        );
    }

    #[test]
    fn what_the_file_does_not_say_stays() {
        let own = Credentials {
            access_key: "own".to_owned(),
            secret_key: "s".to_owned(),
            security_token: None,
        };
        let access = crate::AccessOptions {
            inner_user: Some(own.clone()),
            ..Default::default()
        };
        let mut config = ServerConfig {
            name_server_credentials: Some(own),
            access: Some(access),
            ..ServerConfig::default()
        };
        config
            .apply_broker_conf("authorizationEnabled=true\n")
            .unwrap();
        let kept = [
            config.name_server_credentials,
            config.access.unwrap().inner_user,
        ];
        assert!(
            kept.into_iter()
                .all(|kept| kept.unwrap().access_key == "own")
        );
    }

    #[test]
    fn without_users_only_the_registration_is_signed() {
        let mut config = ServerConfig::default();
        let ignored = config
            .apply_broker_conf(
                "initAuthenticationUser={\"username\":\"root\",\"password\":\"s1\"}\n\
                 innerClientAuthenticationCredentials={\"accessKey\":\"inner\",\"secretKey\":\"s2\"}\n",
            )
            .unwrap();
        assert_eq!(ignored, ["initAuthenticationUser"]);
        assert!(config.access.is_none());
        assert_eq!(config.name_server_credentials.unwrap().access_key, "inner");
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_telling_it() {
        let text = "authenticationEnabled=true\n\
                    initAuthenticationUser=root:geheim\n\
                    innerClientAuthenticationCredentials={\"accessKey\":\"inner\",\"secretKe\":\"geheim\"}\n\
                    authenticationWhitelist=1,x\n";
        let refused = ServerConfig::default().apply_broker_conf(text);
        let ServerError::Config { faults } = refused.unwrap_err() else {
            panic!("not a configuration error");
        };
        assert_eq!(
            faults,
            [
                r#"innerClientAuthenticationCredentials: not {"accessKey":"...","secretKey":"..."}"#,
                r#"initAuthenticationUser: not {"username":"...","password":"..."}"#,
                "authenticationWhitelist: not numbers with commas between",
            ]
        );
    }
}
