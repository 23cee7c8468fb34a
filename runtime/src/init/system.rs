//! Host name, domain name, sysctls: what a namespace holds, and what is written through procfs.

use super::child::Context;
use super::fault::{Because, Done};
use crate::plan::Plan;

/// Sets them.
pub fn perform(plan: &Plan, c: &Context) -> Done {
    if !plan.hostname.is_empty() {
        nix::unistd::sethostname(&plan.hostname).because("sethostname", &plan.hostname)?;
    }
    if !plan.domainname.is_empty() {
        dhow_kernel::process::setdomainname(plan.domainname.as_bytes())
            .because("setdomainname", &plan.domainname)?;
    }
    for (path, value) in &plan.sysctls {
        c.proc.write(path, value).because("write the sysctl", path.to_bytes())?;
    }
    Ok(())
}
