//! Other firewalls that drop what they don't know: each gets one rule, with dhow's tag, that lets
//! pass what dhow's table has let pass and marked.
//!
//! KERNEL: accepted by one chain is accepted by that chain alone; dropped is dropped. So no rule
//! of dhow's own table can undo another's drop.
//!
//! The rule stands where its owner wants such rules (docker's DOCKER-USER, ufw's chain of routes),
//! else last in the chain that drops; so what the owner's user has said before it holds.

use std::path::Path;

use super::Table;
use super::layout::{BESIDE, GUARDED, MARK, UPLINKS};
use super::object::{Element, Place, comment_of};
use super::rule::{Rule, Verdict, name};
use super::socket::Fault;
use super::uplink;
use super::wire::{Family, Requests, Values};
use crate::error::{Error, Result};

/// What dhow's rule in another's chain is called.
pub const TAG: &str = "dhow: what its own table accepted";
const FORWARD: u32 = 2;
const DROP: i32 = 0;
const RETURN: i32 = -5;

/// Where owners want others' rules, by family.
const INVITING: [(&str, Family); 4] = [
    ("DOCKER-USER", Family::Ip),
    ("DOCKER-USER", Family::Ip6),
    ("ufw-user-forward", Family::Ip),
    ("ufw6-user-forward", Family::Ip6),
];

/// A chain of somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chain {
    place: Place,
    name: String,
    forwards: bool,
    drops: bool,
}

impl Chain {
    fn read(message: &[u8]) -> Option<Self> {
        let family = Family::of(*message.first()?)?;
        let all = Values::of(message.get(4..)?);
        let hook = all.within(4);
        Some(Self {
            place: Place { family, table: all.text(1)?.to_owned() },
            name: all.text(3)?.to_owned(),
            forwards: hook.number(1) == Some(FORWARD),
            drops: all.number(5) == Some(DROP as u32),
        })
    }

    /// Of iptables, which understands its own kind of rules only.
    fn is_iptables(&self) -> bool {
        self.place.family != Family::Inet && self.place.table == "filter"
    }
}

/// A rule of somebody's, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    handle: u64,
    tagged: bool,
    end: Option<End>,
}

/// What a rule does with all that come to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Drops,
    Returns,
}

impl Known {
    fn read(message: &[u8]) -> Option<Self> {
        let all = Values::of(message.get(4..)?);
        let mut rule = Self {
            handle: all.long(3)?,
            tagged: comment_of(all.first(7)).as_deref() == Some(TAG),
            end: None,
        };
        let mut picky = false;
        for (_, expression) in all.within(4) {
            let expression = Values::of(expression);
            let data = expression.within(2);
            let code = data.within(2).within(2).number(1).map(|code| code as i32);
            match (expression.text(1)?, code) {
                ("counter" | "log", _) => {}
                ("match", _) if data.text(1) == Some("comment") => {
                    let words = data.first(3).unwrap_or_default();
                    rule.tagged |= words.starts_with(TAG.as_bytes());
                }
                ("immediate", Some(DROP)) | ("reject", _) => rule.end = Some(End::Drops),
                ("immediate", Some(RETURN)) => rule.end = Some(End::Returns),
                ("target", _) if matches!(data.text(1), Some("REJECT" | "DROP")) => {
                    rule.end = Some(End::Drops);
                }
                _ => picky = true,
            }
        }
        rule.end = rule.end.filter(|_| !picky);
        Some(rule)
    }
}

/// Lets other firewalls pass what this table has let pass, where they would drop it.
///
/// What can't be done is told, in lines for the user; the containers run without it.
pub fn beside(table: &Table) -> Result<Vec<String>> {
    let chains = foreign_chains(table)?;
    let mut told = Vec::new();
    let mut families = Vec::new();
    for chain in chains.iter().filter(|c| c.forwards) {
        let rules = rules_of(table, chain)?;
        let drops = chain.drops || rules.last().is_some_and(|r| r.end == Some(End::Drops));
        if !drops {
            continue;
        }
        families.extend(match chain.place.family {
            Family::Inet | Family::Any => vec![Family::Ip, Family::Ip6],
            one => vec![one],
        });
        let (at, rules) = match inviting(&chains, chain) {
            Some(other) => (other, rules_of(table, other)?),
            None => (chain, rules),
        };
        if rules.iter().any(|rule| rule.tagged) {
            continue;
        }
        let before = rules.last().filter(|rule| rule.end.is_some()).map(|rule| rule.handle);
        if let Err(fault) = add(table, at, before) {
            told.push(advice(at, fault));
        }
    }
    // What old iptables has can't be read here, nor added to; a rule that somebody adds by hand
    // (docs/networks.md) finds its mark.
    if legacy() {
        families.push(Family::Ip);
    }
    note(table, &families)?;
    Ok(told)
}

/// Takes back all rules in other firewalls, unless another world has networks here.
pub fn leave(table: &Table) -> Result<()> {
    let all = all_chains(table)?;
    if all.iter().any(|c| is_dhow(c) && c.place != table.place) {
        return Ok(());
    }
    for chain in all.iter().filter(|c| c.forwards && !is_dhow(c)) {
        for at in [Some(chain), inviting(&all, chain)].into_iter().flatten() {
            let mut batch = Requests::transaction();
            for rule in rules_of(table, at)?.iter().filter(|rule| rule.tagged) {
                at.place.on(&mut batch).remove_rule(&at.name, rule.handle);
            }
            super::absent_is_fine(table.socket.commit(batch))?;
        }
    }
    Ok(())
}

fn is_dhow(chain: &Chain) -> bool {
    let table = &chain.place.table;
    chain.place.family == Family::Inet && (table == "dhow" || table.starts_with("dhow-"))
}

fn all_chains(table: &Table) -> Result<Vec<Chain>> {
    let all = table.socket.dump(&Place::chains(Family::Any))?;
    Ok(all.iter().filter_map(|message| Chain::read(message)).collect())
}

fn foreign_chains(table: &Table) -> Result<Vec<Chain>> {
    Ok(all_chains(table)?.into_iter().filter(|chain| !is_dhow(chain)).collect())
}

fn inviting<'a>(all: &'a [Chain], chain: &Chain) -> Option<&'a Chain> {
    let invites = |c: &&Chain| INVITING.contains(&(c.name.as_str(), c.place.family));
    all.iter().filter(|c| c.place == chain.place).find(invites)
}

fn rules_of(table: &Table, chain: &Chain) -> Result<Vec<Known>> {
    match table.socket.dump(&chain.place.rules(&chain.name)) {
        Ok(all) => Ok(all.iter().filter_map(|message| Known::read(message)).collect()),
        Err(fault) if fault.is_absent() => Ok(Vec::new()),
        Err(fault) => Err(fault.into()),
    }
}

fn add(table: &Table, chain: &Chain, before: Option<u64>) -> Result<(), Fault> {
    let put = |rule: Rule, comment: Option<&str>| {
        let mut batch = Requests::transaction();
        chain.place.on(&mut batch).tagged(&chain.name, rule, comment, before);
        table.socket.commit(batch)
    };
    let own = || Rule::new().marked(MARK).counted().then(Verdict::Accept);
    if !chain.is_iptables() {
        return put(own(), Some(TAG));
    }
    // iptables' own matches are what each version of it can list and save; those before 1.8.8
    // know nothing else.
    match put(as_iptables(), None) {
        // A kernel without xt_mark or xt_comment.
        Err(fault) if fault.is_absent() => put(own(), Some(TAG)),
        done => done,
    }
}

/// `-m mark --mark MARK/MARK -m comment --comment TAG -j ACCEPT`
fn as_iptables() -> Rule {
    // xt_mark_mtinfo1: mark, mask, inverted; aligned to eight bytes.
    let mut mark = [0; 16];
    mark[..4].copy_from_slice(&MARK.to_ne_bytes());
    mark[4..8].copy_from_slice(&MARK.to_ne_bytes());
    let mut comment = [0; 256];
    comment[..TAG.len()].copy_from_slice(TAG.as_bytes());
    Rule::new()
        .foreign_match("mark", 1, &mark)
        .foreign_match("comment", 0, &comment)
        .counted()
        .then(Verdict::Accept)
}

fn advice(chain: &Chain, fault: Fault) -> String {
    let (family, table) = (chain.place.family.as_str(), &chain.place.table);
    let what = if table == "firewalld" {
        "'firewall-cmd --permanent --zone=trusted --add-interface=BRIDGE && firewall-cmd --reload' \
         for each bridge of 'dhow network ls' lets them pass"
            .to_owned()
    } else {
        format!("accept packets with mark {MARK:#x}/{MARK:#x} there")
    };
    let why = Error::from(fault).message;
    format!(
        "table {family} {table} drops what containers forward, and takes no rule: {why}; {what}"
    )
}

/// The table marks packets for those that need it, and knows which bridges lead outside: they need
/// the mark, and pass no guard.
fn note(table: &Table, families: &[Family]) -> Result<()> {
    let mut want: Vec<Element> = [Family::Ip, Family::Ip6]
        .into_iter()
        .filter(|family| families.contains(family))
        .map(|family| Element::new(BESIDE, &[&[family as u8]]))
        .collect();
    if !want.is_empty() || !table.all_of(&[GUARDED])?.is_empty() {
        let uplinks = uplink::bridges()?;
        want.extend(uplinks.iter().map(|device| Element::new(UPLINKS, &[&name(device)])));
    }
    let there = table.all_of(&[BESIDE, UPLINKS])?;
    let mut batch = Requests::transaction();
    for gone in there.iter().filter(|element| !want.contains(element)) {
        table.place.on(&mut batch).remove_element(gone);
    }
    for new in want.iter().filter(|element| !there.contains(element)) {
        table.place.on(&mut batch).element(new, false);
    }
    Ok(table.socket.commit(batch)?)
}

/// Old iptables has rules in this namespace.
fn legacy() -> bool {
    let names = Path::new("/proc/thread-self/net/ip_tables_names");
    std::fs::read_to_string(names).is_ok_and(|text| text.lines().any(|line| line == "filter"))
}

#[cfg(test)]
pub(super) fn read_any(message: &[u8]) {
    let _ = (Chain::read(message), Known::read(message));
}
