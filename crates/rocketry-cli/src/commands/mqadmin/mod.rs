//! `rocketry mqadmin`: the old names and flags, translated.

mod names;

use clap::{CommandFactory, Parser};

use self::names::{Becomes, Flag, NAMES, Old};
use crate::{
    args::{Cli, Global, Mqadmin},
    clock::MainEntered,
    failure::Failure,
    output::{self, Column, Output},
};

/// Runs what the old name stands for.
///
/// # Errors
/// An unknown name or flag, and what the command fails with.
pub(super) fn run(args: &Mqadmin, global: &Global, entered: MainEntered) -> Result<(), Failure> {
    let Some(name) = &args.name else {
        return list();
    };
    if is_help(name) {
        return help();
    }
    let old = NAMES
        .iter()
        .find(|old| old.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| unknown(name))?;
    if args
        .flags
        .iter()
        .any(|flag| flag == "-h" || flag == "--help")
    {
        return explain(old);
    }
    let words = translate(old, &args.flags).map_err(|reason| {
        Failure::usage(format!("{}: {reason}", old.name)).hint(format!(
            "rocketry mqadmin {} -h shows the flags and what they become",
            old.name
        ))
    })?;
    output::note(format_args!("# rocketry {}", shown(&words)));
    let words = std::iter::once("rocketry".to_owned()).chain(words);
    let mut cli = Cli::try_parse_from(words).map_err(|error| {
        // The usage that clap adds is that of our command, which was not typed.
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Failure::usage(first.trim_start_matches("error: "))
    })?;
    cli.global.verbose = cli.global.verbose.max(global.verbose);
    cli.global.namesrv = cli.global.namesrv.or_else(|| global.namesrv.clone());
    // Old commands have no flags for it: it stands before `mqadmin`, or in the environment.
    cli.global.access = global.access.clone();
    super::run(cli, entered)
}

fn is_help(word: &str) -> bool {
    word == "-h" || word == "--help"
}

/// What `--help` prints for other commands: there, everything behind the name belongs to the old command.
fn help() -> Result<(), Failure> {
    let mut cli = Cli::command();
    cli.build();
    let mut output = Output::stdout();
    if let Some(command) = cli.find_subcommand_mut("mqadmin") {
        output.line(command.render_long_help())?;
    }
    output.flush()
}

fn unknown(name: &str) -> Failure {
    Failure::usage(format!("mqadmin command {name} has no counterpart here"))
        .hint("`rocketry mqadmin` lists those that have one")
}

/// All names, with ours beside them.
fn list() -> Result<(), Failure> {
    let columns = [Column::Text("MQADMIN"), Column::Text("ROCKETRY")];
    let rows = NAMES
        .iter()
        .map(|old| vec![old.name.to_owned(), old.words.join(" ")]);
    let mut output = Output::stdout();
    output.table(&columns, rows.collect())?;
    output.flush()
}

/// The flags of one name, and what becomes of each.
fn explain(old: &Old) -> Result<(), Failure> {
    let columns = [Column::Text("FLAG"), Column::Text("BECOMES")];
    let rows = flags_of(old).map(|flag| {
        let becomes = match &flag.becomes {
            Becomes::Place | Becomes::Places(_) => {
                format!("{} {}", old.words.join(" "), flag.long.to_uppercase())
            }
            Becomes::Option(name) | Becomes::Converted(name, _) => (*name).to_owned(),
            Becomes::Words(shown, _) => (*shown).to_owned(),
            Becomes::Nothing(why) => format!("ignored: {why}"),
        };
        let becomes = match flag.default {
            Some(default) => format!("{becomes}; without it {default}"),
            None => becomes,
        };
        vec![format!("-{} --{}", flag.short, flag.long), becomes]
    });
    let mut output = Output::stdout();
    output.line(format_args!(
        "{} is rocketry {}\n",
        old.name,
        old.words.join(" ")
    ))?;
    output.table(&columns, rows.collect())?;
    output.flush()
}

fn flags_of(old: &Old) -> impl Iterator<Item = &Flag> {
    std::iter::once(&names::NAME_SERVERS).chain(old.flags)
}

/// Our words for the flags of an old command.
fn translate(old: &Old, given: &[String]) -> Result<Vec<String>, String> {
    let mut places: Vec<(usize, String)> = Vec::new();
    let mut options: Vec<String> = Vec::new();
    for (index, flag, value) in with_defaults(old, given)? {
        let named = |reason: String| format!("-{}: {reason}", flag.short);
        let trimmed = value.trim();
        match &flag.becomes {
            Becomes::Place => places.push((index, value)),
            Becomes::Places(sign) => {
                let values = trimmed.split(*sign).map(str::trim);
                places.extend(values.map(|value| (index, value.to_owned())));
            }
            Becomes::Option(name) => options.push(format!("{name}={trimmed}")),
            Becomes::Converted(name, convert) => {
                options.push(format!("{name}={}", convert(trimmed).map_err(named)?));
            }
            Becomes::Words(_, convert) => options.extend(convert(trimmed).map_err(named)?),
            Becomes::Nothing(_) => {}
        }
    }
    // The order of the table is that of our command.
    places.sort_by_key(|(index, _)| *index);
    let words = old.words.iter().map(|word| (*word).to_owned());
    let after = old.more.iter().map(|word| (*word).to_owned());
    let mut all: Vec<String> = words.chain(after).chain(options).collect();
    if !places.is_empty() {
        // A name or a body may begin with a hyphen.
        all.push("--".to_owned());
        let values: Vec<_> = places.into_iter().map(|(_, value)| value).collect();
        match old.joined_by {
            Some(sign) => all.push(values.join(sign)),
            None => all.extend(values),
        }
    }
    Ok(all)
}

/// The flags that were given with their values, behind them those that have one without being given. Each with its place in the table.
fn with_defaults<'a>(
    old: &'a Old,
    given: &[String],
) -> Result<Vec<(usize, &'a Flag, String)>, String> {
    let mut flags = Vec::new();
    let mut rest = given.iter();
    while let Some(word) = rest.next() {
        let (index, flag, attached) = find(old, word)?;
        let value = match attached {
            Some(value) => value,
            None if flag.is_switch => String::new(),
            None => rest
                .next()
                .cloned()
                .ok_or_else(|| format!("-{} needs a value", flag.short))?,
        };
        flags.push((index, flag, value));
    }
    let is_given = |flag: &Flag| flags.iter().any(|(_, given, _)| given.short == flag.short);
    let named = |flag: &Flag| format!("-{} (--{})", flag.short, flag.long);
    if let Some(missing) = old
        .flags
        .iter()
        .find(|flag| flag.is_required && !is_given(flag))
    {
        return Err(format!("{} is missing", named(missing)));
    }
    let places: Vec<_> = old.flags.iter().filter(|flag| flag.is_place).collect();
    if !places.is_empty() && !places.iter().any(|flag| is_given(flag)) {
        let names: Vec<_> = places.into_iter().map(named).collect();
        return Err(format!("{} is missing", names.join(" or ")));
    }
    let defaults: Vec<_> = flags_of(old)
        .enumerate()
        .filter(|(_, flag)| !is_given(flag))
        .filter_map(|(index, flag)| Some((index, flag, flag.default?.to_owned())))
        .collect();
    flags.extend(defaults);
    Ok(flags)
}

/// The flag of `-t`, `--topic` or `--topic=VALUE`, with its place in the table and the value that stands at it.
fn find<'a>(old: &'a Old, word: &str) -> Result<(usize, &'a Flag, Option<String>), String> {
    let (name, attached) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    flags_of(old)
        .enumerate()
        .find(|(_, flag)| flag.is_named(name))
        .map(|(index, flag)| (index, flag, attached))
        .ok_or_else(|| format!("{word} is not known"))
}

/// The words as a shell would read them again.
fn shown(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=:,./+@%".contains(c);
        if !word.is_empty() && word.chars().all(is_plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(line: &str) -> Result<String, String> {
        let mut words = line.split(' ').map(str::to_owned);
        let name = words.next().unwrap_or_default();
        let old = NAMES.iter().find(|old| old.name == name).unwrap();
        let flags: Vec<_> = words.collect();
        let words = translate(old, &flags)?;
        let all = std::iter::once("rocketry".to_owned()).chain(words.clone());
        Cli::try_parse_from(all).map_err(|error| error.to_string())?;
        Ok(shown(&words))
    }

    #[test]
    fn names_and_flags_are_translated_to_commands_that_parse() {
        for (old, new) in [
            (
                "topicList -n h:1;h:2",
                "topic list --all '--namesrv=h:1;h:2'",
            ),
            ("topicRoute -t T", "topic route -- T"),
            (
                "createUser -b h:1 -u alice -p 12345678 -t Super",
                "user create --broker=h:1 --password=12345678 --type=Super -- alice",
            ),
            (
                "updateUser -c C -u alice -s disable",
                "user update --cluster=C --status=disable -- alice",
            ),
            ("listUser -c C", "user list --show-password --cluster=C"),
            (
                "createAcl -c C -s User:alice -r Topic:*,Group:* -a Pub,SUB -i 10.0.0.0/8 -d Deny",
                "acl create --cluster=C '--resource=Topic:*,Group:*' --actions=Pub,SUB \
                 --source=10.0.0.0/8 --deny -- User:alice",
            ),
            (
                "deleteAcl -b h:1 -s User:alice -r Topic:T",
                "acl delete --yes --broker=h:1 --resource=Topic:T -- User:alice",
            ),
            (
                "copyAcl -f h:1 -t h:2 -s User:a,User:b",
                "acl copy --from=h:1 --to=h:2 -- User:a User:b",
            ),
            ("topicStatus -t T -n h:1", "topic stats --namesrv=h:1 -- T"),
            (
                "updateTopic -b h:1 -t T -r 16 -w 8 -p 6 -o false -a +message.type=FIFO,+x=y",
                "topic create --broker=h:1 --read-queues=16 --write-queues=8 --perm=rw --order=false \
                 --attribute=message.type=FIFO --attribute=x=y -- T",
            ),
            (
                "updateTopicPerm -t T -c C -p 4",
                "topic update --cluster=C --perm=r -- T",
            ),
            (
                "deleteTopic -t T -c C",
                "topic delete --yes --cluster=C -- T",
            ),
            ("clusterList -m", "cluster list"),
            ("brokerStatus -b h:1", "broker status -- h:1"),
            (
                "updateBrokerConfig -v 4 -b h:1 -k brokerPermission",
                "broker set --broker=h:1 -- brokerPermission=4",
            ),
            ("consumerProgress", "group progress"),
            (
                "consumerProgress -g G -t T -s true",
                "group progress --topic=T -- G",
            ),
            (
                "producerConnection -g G -t T",
                "group clients --producers -- G",
            ),
            (
                "updateSubGroup -g G -c C -r 3 -s false",
                "group create --cluster=C --retries=3 --consume=false -- G",
            ),
            ("queryMsgById -i 7F00 -t T", "message view -- T 7F00"),
            ("queryMsgByUniqueKey -t T -i 7F00", "message view -- T 7F00"),
            (
                "queryMsgByKey -t T -k K -m 9 -b 5",
                "message query --max=9 --from=5 -- T K",
            ),
            ("queryMsgByKey -t T -k K", "message query --max=64 -- T K"),
            ("consumeMessage -t T", "consume --wait=0s --count=128 -- T"),
            (
                "deleteSubGroup --groupName=G -c C",
                "group delete --yes --cluster=C --keep-offsets -- G",
            ),
            (
                "deleteSubGroup -g G -r true -c C",
                "group delete --yes --cluster=C -- G",
            ),
            (
                "resetOffsetByTime -g G -t T -s now",
                "group reset --yes --topic=T --to=last -- G",
            ),
            (
                "resetOffsetByTime -g G -t T -s 2026-01-31#10:00:00:000",
                "group reset --yes --topic=T '--to=time:2026-01-31 10:00:00.000' -- G",
            ),
            (
                "sendMessage -p -x -t T -k K -c tag",
                "send --key=K --tag=tag -- T -x",
            ),
            (
                "checkMsgSendRT -t T",
                "bench produce --mode=sync --concurrency=1 --warmup=0 --count=100 --size=128 -- T",
            ),
            (
                "checkMsgSendRT -t T -a 10 -s 100",
                "bench produce --mode=sync --concurrency=1 --warmup=0 --count=10 --size=100 -- T",
            ),
        ] {
            assert_eq!(ours(old).as_deref(), Ok(new), "{old}");
        }
    }

    #[test]
    fn what_cannot_be_translated_is_refused() {
        for (old, reason) in [
            ("topicRoute", "-t (--topic) is missing"),
            ("topicRoute -t", "-t needs a value"),
            ("topicRoute -t T -x 1", "-x is not known"),
            ("deleteTopic -t T", "-c (--clusterName) is missing"),
            ("deleteSubGroup -g G", "-c (--clusterName) is missing"),
            (
                "updateBrokerConfig -k K -v V",
                "-b (--brokerAddr) or -c (--clusterName) is missing",
            ),
            (
                "updateTopicPerm -t T -c C -p 5",
                "-p: write 2 (write), 4 (read) or 6 (both)",
            ),
        ] {
            assert_eq!(ours(old), Err(reason.to_owned()), "{old}");
        }
    }

    #[test]
    fn names_are_unique_and_sorted() {
        let names: Vec<_> = NAMES.iter().map(|old| old.name.to_lowercase()).collect();
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(names, sorted);
    }
}
