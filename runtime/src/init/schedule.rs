//! When and where the program runs: set last, on this one process, with the privilege still there.

use nix::errno::Errno;

use super::fault::{Because, Cause, Done};
use crate::validate::schedule::{Affinity, Schedule};

/// Sets what is asked for.
pub fn perform(s: &Schedule) -> Done {
    scheduler(0, s)?;
    inherited(s)
}

/// Sets the scheduler of a process; 0 is this one.
pub fn scheduler(process: i32, s: &Schedule) -> Done {
    if let Some(scheduler) = s.scheduler {
        match dhow_kernel::sched::set(process, scheduler) {
            // KERNEL: sched_setattr(2): SCHED_DEADLINE wants all CPUs of its root domain.
            Err(Errno::EPERM) if s.cpuset => {
                let why = "process scheduler can't be used together with AllowedCPUs: process.\
                           scheduler and linux.resources.cpu.cpus";
                return Err(Cause::rule(why));
            }
            other => other.because("sched_setattr", "process.scheduler")?,
        }
    }
    Ok(())
}

/// Sets what a process has from its maker whatever the maker is.
///
/// KERNEL: sched(7): one of SCHED_DEADLINE makes none, and SCHED_FLAG_RESET_ON_FORK is for others.
pub fn inherited(s: &Schedule) -> Done {
    if let Some((class, level)) = s.io_priority {
        dhow_kernel::sched::set_io_priority(class, level)
            .because("ioprio_set", "process.ioPriority")?;
    }
    if let Some(domain) = s.personality {
        let persona = nix::sys::personality::Persona::from_bits_retain(domain as i32);
        nix::sys::personality::set(persona).because("personality", domain.to_string())?;
    }
    if let Some(memory) = &s.memory {
        dhow_kernel::memory::set_policy(memory.mode, &memory.nodes)
            .because("set_mempolicy", "linux.memoryPolicy")?;
    }
    Ok(())
}

/// The CPUs of a process of exec, once it is in the container's groups.
///
/// SPEC: config.md §Linux Process, execCPUAffinity: without `final` what `initial` left stays.
pub fn last_affinity(asked: &Affinity) -> Done {
    match (asked.initial.is_empty(), asked.last.is_empty()) {
        (true, true) => every_cpu(),
        (false, true) => {}
        (_, false) => dhow_kernel::sched::set_affinity(&asked.last)
            .because("error setting final CPU affinity: sched_setaffinity", "execCPUAffinity")?,
    }
    Ok(())
}

/// Undoes what the caller of this runtime was bound to: the container's CPUs are its cpuset's.
pub fn every_cpu() {
    // As runc: where the kernel refuses, the process keeps what it has.
    let _ = dhow_kernel::sched::set_affinity(&dhow_kernel::sched::EVERY_CPU);
}
