//! A line taken apart becomes an instruction.

use super::flags::{Flags, Kind};
use super::heredoc::announced;
use super::line::{Line, Node, Raw, Wrong};
use super::mount::{MountText, device};
use super::times::time;
use super::{Argument, Command, Copy, Heredoc, Instruction, Run};
use crate::build::expand;
use crate::config::Healthcheck;

const LIST: Kind = Kind::List;
const SWITCH: Kind = Kind::Switch;
const TEXT: Kind = Kind::Text;

/// Reads any instruction but FROM.
pub(super) fn read(node: Node, line: &Line) -> Result<Instruction, Wrong> {
    let name = node.word.to_ascii_uppercase();
    Ok(match name.as_str() {
        "ADD" | "COPY" => copy(&name, node, line)?,
        "ARG" => Instruction::Arg(arguments(&node, line)?),
        "CMD" => Instruction::Cmd(command(plain(node)?)),
        "ENTRYPOINT" => Instruction::Entrypoint(command(plain(node)?)),
        "ENV" => Instruction::Env(pairs("ENV", node)?),
        "LABEL" => Instruction::Label(pairs("LABEL", node)?),
        "EXPOSE" => {
            let mut ports = some("EXPOSE", plain(node)?)?.args;
            ports.sort();
            Instruction::Expose(ports)
        }
        "HEALTHCHECK" => Instruction::Healthcheck(Box::new(healthcheck(&node)?)),
        "MAINTAINER" => Instruction::Maintainer(one("MAINTAINER", plain(node)?)?),
        "ONBUILD" => Instruction::Onbuild(trigger(node, line)?),
        "RUN" => Instruction::Run(Box::new(run(node, line)?)),
        "SHELL" => Instruction::Shell(shell(node)?),
        // Flags of STOPSIGNAL and ARG are passed over, as BuildKit does.
        "STOPSIGNAL" => Instruction::Stopsignal(one("STOPSIGNAL", node)?),
        "USER" => Instruction::User(one("USER", plain(node)?)?),
        "VOLUME" => Instruction::Volume(volumes(node)?),
        "WORKDIR" => Instruction::Workdir(one("WORKDIR", plain(node)?)?),
        _ => return Err(node.unknown()),
    })
}

/// It has no flags.
pub(super) fn plain(node: Node) -> Result<Node, Wrong> {
    Flags::read(&node.flags, &[])?;
    Ok(node)
}

fn some(name: &str, node: Node) -> Result<Node, Wrong> {
    if node.args.is_empty() {
        return Err(format!("{name} requires at least one argument").into());
    }
    Ok(node)
}

fn one(name: &str, node: Node) -> Result<String, Wrong> {
    node.args
        .into_iter()
        .next()
        .ok_or_else(|| format!("{name} requires exactly one argument").into())
}

fn command(node: Node) -> Command {
    if node.json {
        Command::Exec(node.args)
    } else {
        Command::Shell(node.args.into_iter().next().unwrap_or_default())
    }
}

fn pairs(name: &str, node: Node) -> Result<Vec<(String, String)>, Wrong> {
    let node = plain(node)?;
    if node.pairs.is_empty() {
        return Err(format!("{name} requires at least one argument").into());
    }
    if node.pairs.iter().any(|(key, _)| key.is_empty()) {
        return Err(blank(name, &node.rest));
    }
    Ok(node.pairs)
}

fn blank(name: &str, near: &str) -> Wrong {
    Wrong::near(format!("{name} names can not be blank"), near)
}

fn arguments(node: &Node, line: &Line) -> Result<Vec<Argument>, Wrong> {
    if node.args.is_empty() {
        return Err("ARG requires at least one argument".into());
    }
    let read = node.args.iter().map(|text| {
        let (name, value) = match text.split_once('=') {
            Some(("", _)) => return Err(blank("ARG", text)),
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        let about = about(&line.comments, name);
        Ok(Argument {
            name: name.to_owned(),
            value,
            about,
            comments: line.comments.clone(),
            lines: line.first..=line.last,
        })
    });
    read.collect()
}

/// What a comment says of a name.
pub(super) fn about(comments: &[String], name: &str) -> String {
    let found = comments.iter().find_map(|text| text.strip_prefix(name)?.strip_prefix(' '));
    found.filter(|_| !name.is_empty()).unwrap_or_default().to_owned()
}

fn volumes(node: Node) -> Result<Vec<String>, Wrong> {
    let node = some("VOLUME", plain(node)?)?;
    let paths: Vec<String> = node.args.iter().map(|path| path.trim().to_owned()).collect();
    if paths.iter().any(String::is_empty) {
        return Err("VOLUME specified can not be an empty string".into());
    }
    Ok(paths)
}

fn shell(node: Node) -> Result<Vec<String>, Wrong> {
    let node = some("SHELL", plain(node)?)?;
    if !node.json {
        let why = format!(
            "SHELL requires the arguments to be in JSON form: SHELL [\"{}\"]",
            node.rest.split_whitespace().collect::<Vec<_>>().join("\", \"")
        );
        return Err(Wrong::near(why, node.rest));
    }
    Ok(node.args)
}

const TIMES: [&str; 4] = ["interval", "timeout", "start-period", "start-interval"];

fn healthcheck(node: &Node) -> Result<Healthcheck, Wrong> {
    let [kind, command @ ..] = node.args.as_slice() else {
        return Err("HEALTHCHECK requires at least one argument".into());
    };
    let upper = kind.to_uppercase();
    if upper == "NONE" {
        if !command.is_empty() {
            return Err("HEALTHCHECK NONE takes no arguments".into());
        }
        return Ok(Healthcheck { test: vec![upper], ..Healthcheck::default() });
    }
    let flags = Flags::read(
        &node.flags,
        &[
            (TIMES[0], TEXT),
            (TIMES[1], TEXT),
            (TIMES[2], TEXT),
            (TIMES[3], TEXT),
            ("retries", TEXT),
        ],
    )?;
    if upper != "CMD" {
        let why = format!("Unknown type {upper:?} in HEALTHCHECK (try CMD)");
        return Err(Wrong::near(why, kind.as_str()));
    }
    if command.is_empty() {
        return Err("Missing command after HEALTHCHECK CMD".into());
    }
    let kind = if node.json { "CMD" } else { "CMD-SHELL" };
    let test = std::iter::once(kind.to_owned()).chain(command.iter().cloned()).collect();
    let [interval, timeout, start_period, start_interval] = TIMES.map(|name| {
        let text = flags.filled(name).unwrap_or_else(|| "0".into());
        time(name, &text).map_err(|why| Wrong::near(why, format!("--{name}")))
    });
    Ok(Healthcheck {
        test,
        interval: interval?,
        timeout: timeout?,
        start_period: start_period?,
        start_interval: start_interval?,
        retries: flags.filled("retries").map_or(Ok(0), |text| retries(&text))?,
    })
}

fn retries(text: &str) -> Result<i64, Wrong> {
    let why = match text.parse::<i32>() {
        Ok(n) if n >= 0 => return Ok(n.into()),
        Ok(n) => format!("--retries cannot be negative ({n})"),
        Err(_) => format!("--retries is a number, not {text:?}"),
    };
    Err(Wrong::near(why, "--retries"))
}

/// The instruction as written, its heredocs with it.
fn trigger(node: Node, line: &Line) -> Result<String, Wrong> {
    let node = plain(node)?;
    let Some(inner) = &node.inner else {
        return Err("ONBUILD requires at least one argument".into());
    };
    let word = inner.word.to_ascii_uppercase();
    if matches!(word.as_str(), "MAINTAINER" | "FROM") {
        let why = format!("{word} isn't allowed as an ONBUILD trigger");
        return Err(Wrong::near(why, inner.word.as_str()));
    }
    let text = line.text.trim_start();
    let own = text.get(..node.word.len()).map_or(0, str::len);
    // What Go's \s is.
    let rest = text[own..].trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    Ok(with_heredocs(rest, &line.heredocs))
}

fn with_heredocs(text: &str, docs: &[Raw]) -> String {
    let mut text = text.to_owned();
    for raw in docs {
        text = format!("{text}\n{}{}", raw.content, raw.doc.name);
    }
    text
}

fn run(node: Node, line: &Line) -> Result<Run, Wrong> {
    let flags = Flags::read(
        &node.flags,
        &[("mount", LIST), ("network", TEXT), ("security", TEXT), ("device", LIST)],
    )?;
    let mounts = flags
        .list("mount")
        .into_iter()
        .map(|text| MountText::new(&text).map_err(|why| Wrong::near(why, text.as_str())));
    let mounts = mounts.collect::<Result<_, _>>()?;
    let devices = flags
        .list("device")
        .into_iter()
        .map(|text| device(&text).map_err(|why| Wrong::near(why, text.as_str())));
    let devices = devices.collect::<Result<_, _>>()?;
    let network = flags.text("network").map(ToOwned::to_owned);
    if let Some(mode) = network.as_deref().filter(|m| !matches!(*m, "default" | "none" | "host")) {
        return Err(Wrong::near(format!("invalid network mode {mode:?}"), "--network"));
    }
    let insecure = match flags.text("security") {
        None | Some("sandbox") => false,
        Some("insecure") => true,
        Some(other) => {
            return Err(Wrong::near(format!("security {other:?} is not valid"), "--security"));
        }
    };
    let mut run = Run {
        command: command(node),
        heredocs: line.heredocs.iter().map(|raw| raw.doc.clone()).collect(),
        program: None,
        mounts,
        network,
        insecure,
        devices,
    };
    if let (Command::Shell(text), Some(first)) = (&mut run.command, run.heredocs.first()) {
        if announced(text).ok().flatten().is_none() {
            *text = with_heredocs(text, &line.heredocs);
        } else if first.content.starts_with("#!") {
            *text = format!("/dev/pipes/{}", first.name);
            run.program = Some(first.clone());
        } else {
            text.clone_from(&first.content);
        }
    }
    Ok(run)
}

fn copy(name: &str, node: Node, line: &Line) -> Result<Instruction, Wrong> {
    const BOTH: [(&str, Kind); 4] =
        [("chown", TEXT), ("chmod", TEXT), ("link", SWITCH), ("exclude", LIST)];
    const ADD: [(&str, Kind); 3] =
        [("keep-git-dir", SWITCH), ("checksum", TEXT), ("unpack", SWITCH)];
    const COPY: [(&str, Kind); 2] = [("from", TEXT), ("parents", SWITCH)];
    let own: &[(&str, Kind)] = if name == "ADD" { &ADD } else { &COPY };
    let [sources @ .., dest] = node.args.as_slice() else { return Err(no_dest(name)) };
    if sources.is_empty() {
        return Err(no_dest(name));
    }
    let flags = Flags::read(&node.flags, &[&BOTH, own].concat())?;
    if let Ok(Some(_)) = announced(dest) {
        let why = format!("{name} cannot accept a heredoc as a destination");
        return Err(Wrong::near(why, dest.as_str()));
    }
    let mut copy = Copy {
        dest: dest.clone(),
        from: flags.filled("from"),
        chown: flags.filled("chown"),
        chmod: flags.filled("chmod"),
        link: flags.switch("link").unwrap_or_default(),
        parents: flags.switch("parents").unwrap_or_default(),
        exclude: flags.list("exclude"),
        checksum: flags.filled("checksum"),
        keep_git_dir: flags.switch("keep-git-dir"),
        unpack: flags.switch("unpack"),
        ..Copy::default()
    };
    for source in sources {
        match announced(source) {
            Ok(Some(doc)) => copy.heredocs.push(content(doc, line)),
            _ => copy.sources.push(source.clone()),
        }
    }
    if let Some(from) = &copy.from {
        let near = |why: String| Wrong::near(why, "--from");
        if expand::word(from, '\\', &|_| None).map_err(near)? != *from {
            return Err(near(
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround".into(),
            ));
        }
    }
    Ok(match name {
        "ADD" => Instruction::Add(Box::new(copy)),
        _ => Instruction::Copy(Box::new(copy)),
    })
}

fn no_dest(name: &str) -> Wrong {
    format!("{name} requires at least two arguments, but only one was provided. Destination could not be determined").into()
}

/// Of several of one name, the last one's lines are meant.
fn content(doc: Heredoc, line: &Line) -> Heredoc {
    let found = line.heredocs.iter().rev().find(|raw| raw.doc.name == doc.name);
    let content = match found {
        Some(raw) if doc.chomp => super::heredoc::chomped(&raw.content),
        Some(raw) => raw.content.clone(),
        None => String::new(),
    };
    Heredoc { content, ..doc }
}
