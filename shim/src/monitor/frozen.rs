//! A container that stands still as long as somebody looks, and no longer: also who is killed
//! while looking thaws it, for its monitor sees the connection go.

use super::attach::Line;
use super::protocol::{Frame, Freeze, Role};
use super::{is_active, process, state};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Record, Status};

/// All processes of a container are frozen; dropped, they go on.
pub struct Frozen(Line);

/// Freezes the container's processes; nothing when it does not run, or is paused already.
pub fn frozen(host: &Host, record: &Record) -> Result<Option<Frozen>> {
    let now = state(host, record)?;
    let wanted = is_active(&now) && now.status != Status::Paused;
    // One on its way out would be kept from ending.
    if !wanted || now.status == Status::Running && !process::runs(&now)? {
        return Ok(None);
    }
    let (line, _) = Line::of_living(host, record, Role::default())?;
    let Some(mut line) = line else { return Ok(None) };
    line.send(&Frame::Freeze(Freeze::Hold));
    loop {
        match line.wait_frame() {
            Some(Frame::Done) => return Ok(Some(Frozen(line))),
            // It ended just then.
            None | Some(Frame::Exited(_)) => return Ok(None),
            Some(Frame::Failed(failed)) => {
                let now = state(host, record)?;
                let runs = now.status == Status::Running && process::runs(&now)?;
                return if runs { Err(Error::from(failed)) } else { Ok(None) };
            }
            Some(_) => {}
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.send(&Frame::Freeze(Freeze::Thaw));
        while !matches!(
            self.0.wait_frame(),
            None | Some(Frame::Done | Frame::Failed(_) | Frame::Exited(_))
        ) {}
    }
}
