//! What a filter comes to, read off its instructions: for `plan` and `--trace`, at their cost alone.

use super::action;
use super::arch;
use super::compile::Filter;
use super::emit;

impl Filter {
    /// A line each: its size, what it answers, how it is loaded, and who is asked.
    pub fn lines(&self) -> Vec<String> {
        let mut answers: Vec<u32> =
            self.program.iter().filter(|i| i.code == emit::RET).map(|i| i.k).collect();
        // The most lenient first.
        answers.sort_unstable_by_key(|a| (std::cmp::Reverse(action::leniency(*a)), *a));
        answers.dedup();
        let answers: Vec<String> = answers.into_iter().map(word).collect();
        let mut out = vec![
            format!("{} instructions for {}", self.program.len(), self.architectures().join(" ")),
            format!("answers {}", answers.join(", ")),
        ];
        let flags = action::FLAGS.iter().filter(|name| {
            action::flag(name).is_some_and(|flag| flag != 0 && self.flags & flag != 0)
        });
        out.extend(flags.map(|name| format!("flag {name}")));
        out.extend(self.listener.iter().map(|listener| format!("listener to {}", listener.path)));
        out
    }

    /// Those it tells apart by the architecture's word; x32 has x86_64's.
    fn architectures(&self) -> Vec<&'static str> {
        // First the word is loaded, then comes one test for each, with jumps that go far between.
        let head = self.program.iter().skip(1).take_while(|i| i.code != emit::LOAD);
        let tests = head.filter(|i| i.code == emit::JEQ);
        tests.filter_map(|test| arch::of_audit(test.k)).collect()
    }
}

fn word(answer: u32) -> String {
    let datum = answer & 0xffff;
    match answer & 0xffff_0000 {
        action::ALLOW => "allow".to_owned(),
        action::LOG => "log".to_owned(),
        action::TRACE => format!("trace {datum}"),
        action::NOTIFY => "notify".to_owned(),
        action::ERRNO => format!("errno {datum}"),
        action::TRAP => "trap".to_owned(),
        action::KILL_PROCESS => "kill process".to_owned(),
        _ => "kill thread".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Seccomp, compile};

    #[test]
    fn a_filter_is_told_in_words() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":95,
            "architectures":["SCMP_ARCH_X86","SCMP_ARCH_ARM"],"flags":["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath":"/run/agent","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"},
            {"names":["write"],"action":"SCMP_ACT_ALLOW"},{"names":["open"],"action":"SCMP_ACT_TRAP"},
            {"names":["chmod"],"action":"SCMP_ACT_ERRNO","errnoRet":1},{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}"#;
        let profile: Seccomp<'_> = serde_json::from_str(json).unwrap();
        let filter = super::super::compile::compile_for(super::super::Arch::X86_64, &profile);
        let lines = filter.unwrap().lines();
        assert!(
            lines[0].ends_with(" instructions for SCMP_ARCH_X86_64 SCMP_ARCH_X86"),
            "{lines:?}"
        );
        let rest = [
            "answers allow, notify, errno 1, errno 38, errno 95, trap, kill thread",
            "flag SECCOMP_FILTER_FLAG_LOG",
            "listener to /run/agent",
        ];
        assert_eq!(lines[1..], rest);
        assert!(compile(&profile).unwrap().is_some());
    }
}
