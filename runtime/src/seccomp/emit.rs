//! Lays a filter out as instructions, last one first.
//!
//! Building from the end means that every target is known when the jump to it
//! is written, so there is nothing to patch. A conditional jump reaches 255
//! instructions; what is farther gets a copy of the `ret`, or a long jump.

use dhow_kernel::seccomp::Instruction;

use super::action::{Condition, Op};
use super::arch::{Arch, X32_MARK};

// KERNEL: linux/bpf_common.h; all loads are of 32-bit words of seccomp_data.
pub(super) const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
pub(super) const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
pub(super) const RET: u16 = 0x06;

/// Offset of `seccomp_data.nr`.
const NR: u32 = 0;
/// Offset of `seccomp_data.arch`.
const ARCH: u32 = 4;
/// Offset of `seccomp_data.args`.
const ARGS: u32 = 16;

/// What a range of call numbers leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    /// An answer.
    Return(u32),
    /// Rules to try in order, by their place in the section's list, and the
    /// answer when none matches.
    Rules { from: usize, to: usize, otherwise: u32 },
}

/// A rule of a [`Leaf::Rules`]: all conditions hold, then the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub nr: u32,
    pub answer: u32,
    /// The conditions' place in the pool.
    pub from: usize,
    pub to: usize,
}

/// The calls of one architecture word.
pub(super) struct Section {
    pub arch: Arch,
    /// Ranges of call numbers by their first; together they are all numbers.
    pub ranges: Vec<(u32, Leaf)>,
    /// What the leaves refer to.
    pub rules: Vec<Rule>,
}

/// An instruction's distance from the end of the program.
type Label = usize;

/// A program under construction, in reverse.
pub(super) struct Program<'a> {
    pool: &'a [Condition],
    code: Vec<Instruction>,
    /// The latest `ret` of each answer.
    returns: Vec<(u32, Label)>,
    /// Where in an argument's eight bytes its lower and its upper half are.
    halves: (u32, u32),
}

impl<'a> Program<'a> {
    /// Emits the sections and the test that chooses among them; a call of any
    /// other architecture gets `foreign`.
    pub(super) fn assemble(
        sections: &[Section],
        pool: &'a [Condition],
        foreign: u32,
        big_endian: bool,
    ) -> Vec<Instruction> {
        let code = Vec::with_capacity(512);
        let halves = if big_endian { (4, 0) } else { (0, 4) };
        let mut program = Self { pool, code, returns: Vec::with_capacity(8), halves };
        let mut entries = Vec::with_capacity(sections.len());
        for section in sections.iter().rev() {
            let tree = program.tree(section, &section.ranges);
            entries.push((section.arch.audit(), program.load(NR, tree)));
        }
        let mut next = program.ret(foreign);
        for (audit, entry) in entries {
            next = program.branch(JEQ, audit, entry, next);
        }
        program.load(ARCH, next);
        program.code.reverse();
        program.code
    }

    fn tree(&mut self, section: &Section, ranges: &[(u32, Leaf)]) -> Label {
        if let [(first, leaf)] = ranges {
            return self.leaf(section, *first, *leaf);
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let above = self.tree(section, high);
        let below = self.tree(section, low);
        self.branch(JGE, high[0].0, above, below)
    }

    fn leaf(&mut self, section: &Section, nr: u32, leaf: Leaf) -> Label {
        let (from, to, otherwise) = match leaf {
            Leaf::Return(answer) => return self.ret(answer),
            Leaf::Rules { from, to, otherwise } => (from, to, otherwise),
        };
        let wide = section.arch.is_wide() && nr & X32_MARK == 0;
        let mut next = self.ret(otherwise);
        let mut rules = &section.rules[from..to];
        while let [.., last] = rules {
            let values = self.values(rules, wide);
            let yes = self.ret(last.answer);
            next = if values > 1 {
                let (rest, run) = rules.split_at(rules.len() - values);
                rules = rest;
                self.any_of(run, wide, yes, next)
            } else {
                rules = &rules[..rules.len() - 1];
                let conditions = self.pool[last.from..last.to].iter().rev();
                conditions.fold(yes, |yes, c| self.condition(*c, wide, yes, next))
            };
        }
        next
    }

    /// How many rules at the end do nothing but compare one argument with
    /// values that share their upper half, for one answer.
    fn values(&self, rules: &[Rule], wide: bool) -> usize {
        let single = |rule: &Rule| match &self.pool[rule.from..rule.to] {
            [c] if c.op == Op::Equal && c.mask == u64::MAX => {
                Some((c.index, if wide { high(c.value) } else { 0 }, rule.answer))
            }
            _ => None,
        };
        let Some(last) = rules.last().and_then(single) else { return 0 };
        rules.iter().rev().take_while(|rule| single(rule) == Some(last)).count()
    }

    /// One load for all the values, and one test for each stretch of them:
    /// docker's profile lists socket's address families one by one.
    fn any_of(&mut self, run: &[Rule], wide: bool, yes: Label, no: Label) -> Label {
        let first = self.pool[run[0].from];
        let at = ARGS + 8 * first.index;
        let mut values: Vec<u32> =
            run.iter().map(|rule| self.pool[rule.from].value as u32).collect();
        values.sort_unstable();
        values.dedup();
        let mut next = no;
        for stretch in values.chunk_by(|a, b| a + 1 == *b).rev() {
            next = match stretch {
                [.., last] if stretch.len() > 2 => {
                    let within = self.branch(JGT, *last, next, yes);
                    self.branch(JGE, stretch[0], within, no)
                }
                few => few.iter().rev().fold(next, |next, one| self.branch(JEQ, *one, yes, next)),
            };
        }
        let low = self.load(at + self.halves.0, next);
        let upper = at + self.halves.1;
        if wide { self.word(upper, u32::MAX, high(first.value), low, no) } else { low }
    }

    fn condition(&mut self, c: Condition, wide: bool, yes: Label, no: Label) -> Label {
        let at = ARGS + 8 * c.index;
        match c.op {
            Op::Equal => self.equal(at, c, wide, yes, no),
            Op::NotEqual => self.equal(at, c, wide, no, yes),
            Op::Greater => self.above(JGT, at, c.value, wide, yes, no),
            Op::GreaterEqual => self.above(JGE, at, c.value, wide, yes, no),
            Op::Less => self.above(JGE, at, c.value, wide, no, yes),
            Op::LessEqual => self.above(JGT, at, c.value, wide, no, yes),
        }
    }

    fn equal(&mut self, at: u32, c: Condition, wide: bool, yes: Label, no: Label) -> Label {
        let (lower, upper) = (at + self.halves.0, at + self.halves.1);
        let low = self.word(lower, c.mask as u32, c.value as u32, yes, no);
        if wide { self.word(upper, high(c.mask), high(c.value), low, no) } else { low }
    }

    fn word(&mut self, at: u32, mask: u32, value: u32, yes: Label, no: Label) -> Label {
        if mask == 0 {
            return yes;
        }
        let mut entry = self.branch(JEQ, value, yes, no);
        if mask != u32::MAX {
            entry = self.push(AND, 0, 0, mask, entry);
        }
        self.load(at, entry)
    }

    fn above(&mut self, op: u16, at: u32, value: u64, wide: bool, yes: Label, no: Label) -> Label {
        let low = self.branch(op, value as u32, yes, no);
        let low = self.load(at + self.halves.0, low);
        if !wide {
            return low;
        }
        let same = self.branch(JEQ, high(value), low, no);
        let more = self.branch(JGT, high(value), yes, same);
        self.load(at + self.halves.1, more)
    }

    /// A `ret` of `answer` that a jump written soon can reach.
    fn ret(&mut self, answer: u32) -> Label {
        // Half the reach of a jump: the subtree above may still grow.
        const NEAR: usize = 128;
        let here = self.code.len();
        match self.returns.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, at)) if here - *at <= NEAR => return *at,
            Some((_, at)) => *at = here,
            None => self.returns.push((answer, here)),
        }
        self.code.push(insn(RET, 0, 0, answer));
        here
    }

    fn load(&mut self, offset: u32, next: Label) -> Label {
        self.push(LOAD, 0, 0, offset, next)
    }

    fn branch(&mut self, op: u16, value: u32, yes: Label, no: Label) -> Label {
        let (mut yes, mut no) = (yes, no);
        loop {
            match (self.offset(yes), self.offset(no)) {
                (Ok(jt), Ok(jf)) => {
                    self.code.push(insn(op, jt, jf, value));
                    return self.code.len() - 1;
                }
                (Err(_), _) => yes = self.bridge(yes),
                (_, Err(_)) => no = self.bridge(no),
            }
        }
    }

    /// How many instructions a jump written now skips to reach `target`.
    fn offset(&self, target: Label) -> Result<u8, std::num::TryFromIntError> {
        u8::try_from(self.code.len() - 1 - target)
    }

    /// Somewhere near that leads to `target`.
    fn bridge(&mut self, target: Label) -> Label {
        let goal = self.code[target];
        if goal.code == RET {
            self.code.push(goal);
            let here = self.code.len() - 1;
            if let Some(known) = self.returns.iter_mut().find(|(answer, _)| *answer == goal.k) {
                known.1 = here;
            }
            return here;
        }
        let distance = self.code.len() - 1 - target;
        self.code.push(insn(JUMP, 0, 0, distance as u32));
        self.code.len() - 1
    }

    /// Writes an instruction that goes on at `next`.
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32, next: Label) -> Label {
        if next + 1 != self.code.len() {
            self.bridge(next);
        }
        self.code.push(insn(code, jt, jf, k));
        self.code.len() - 1
    }
}

fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}
