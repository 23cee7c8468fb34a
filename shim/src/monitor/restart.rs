//! Restart policies: whether a container that ended begins again, and when.

use std::time::Duration;

use crate::model::{RestartPolicy, State};

/// The first pause; each further one is twice as long.
pub const FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_mins(1);
/// A life of this length makes the pauses short again.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// What is known when a life has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// Its exit code.
    pub code: i32,
    /// How long it lasted.
    pub lasted: Duration,
    /// Lives the policy has begun before.
    pub restarts: u32,
    /// The user asked for the end.
    pub wanted: bool,
    /// The pause before this life, if the policy began it.
    pub pause: Option<Duration>,
}

/// The pause before the next life, or nothing when this was the last.
pub fn pause(policy: &RestartPolicy, ending: &Ending) -> Option<Duration> {
    let most = policy.maximum_retry_count;
    let again = match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => ending.code != 0 && (most == 0 || ending.restarts < most),
        _ => false,
    };
    let next = match ending.pause {
        Some(pause) if ending.lasted < LONG_LIFE => (pause * 2).min(LONGEST),
        _ => FIRST,
    };
    (again && !ending.wanted).then_some(next)
}

/// Whether the policy wants the container to run when the machine has come up.
pub fn at_boot(policy: &RestartPolicy, state: &State) -> bool {
    if state.started_at.is_none() {
        return false; // made and never started
    }
    let most = policy.maximum_retry_count;
    match policy.name.as_str() {
        "always" => true, // DOCKER: stopped by the user, too
        "unless-stopped" => !state.stopped_by_user,
        "on-failure" => {
            let room = most == 0 || state.restart_count < most;
            !state.stopped_by_user && state.exit_code != 0 && room
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDING: Ending =
        Ending { code: 1, lasted: Duration::ZERO, restarts: 0, wanted: false, pause: None };

    fn next(policy: &str, most: u32, ending: Ending) -> Option<u128> {
        let policy = RestartPolicy { name: policy.into(), maximum_retry_count: most };
        pause(&policy, &ending).map(|pause| pause.as_millis())
    }

    #[test]
    fn policies_mean_what_docker_means() {
        let fine = Ending { code: 0, ..ENDING };
        assert_eq!(next("no", 0, ENDING), None);
        assert_eq!(next("", 0, ENDING), None);
        assert_eq!(
            (next("always", 0, fine), next("unless-stopped", 0, fine)),
            (Some(100), Some(100))
        );
        assert_eq!((next("on-failure", 0, ENDING), next("on-failure", 0, fine)), (Some(100), None));
        let third = Ending { restarts: 3, ..ENDING };
        assert_eq!((next("on-failure", 4, third), next("on-failure", 3, third)), (Some(100), None));
        assert_eq!(next("always", 0, Ending { wanted: true, ..ENDING }), None);
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_shrink_after_a_long_life() {
        let after =
            |pause, lasted| next("always", 0, Ending { pause: Some(pause), lasted, ..ENDING });
        assert_eq!(after(FIRST, Duration::ZERO), Some(200));
        assert_eq!(after(LONGEST, Duration::ZERO), Some(60_000));
        assert_eq!(after(LONGEST, LONG_LIFE), Some(100));
    }

    #[test]
    fn what_starts_with_the_machine() {
        let ran = State { started_at: Some(jiff::Timestamp::now()), ..State::default() };
        let stopped = State { stopped_by_user: true, exit_code: 137, ..ran.clone() };
        let failed = State { exit_code: -1, restart_count: 2, ..ran.clone() };
        let starts = |name: &str, most, state: &State| {
            at_boot(&RestartPolicy { name: name.into(), maximum_retry_count: most }, state)
        };
        let of = |state: &State| {
            ["no", "always", "unless-stopped", "on-failure"].map(|n| starts(n, 0, state))
        };
        assert_eq!(of(&State::default()), [false; 4]);
        assert_eq!(of(&ran), [false, true, true, false]);
        assert_eq!(of(&stopped), [false, true, false, false]);
        assert_eq!(of(&failed), [false, true, true, true]);
        assert!(starts("on-failure", 3, &failed) && !starts("on-failure", 2, &failed));
    }
}
