//! A launch in the terms of the system.

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::launch::{Credentials, Launch, Output, Sink};
use crate::model::{LaunchError, Stage};
use crate::os::{Ids, Order, OutputTo};

/// What a launch says to the system.
///
/// # Errors
/// A path has a NUL in it, and could not be opened.
pub(crate) fn order(launch: Launch) -> Result<Order, LaunchError> {
    let Launch { programs, argv, env, cwd, credentials, umask, limits, output, .. } = launch;
    let Output { stdout, stderr } = output;
    Ok(Order {
        limits: limits.into_iter().collect(),
        stdout: output_to(stdout)?,
        stderr: stderr.map(output_to).transpose()?,
        umask,
        ids: credentials.map(|Credentials { uid, gid, groups }| Ids { uid, gid, groups }),
        cwd,
        programs,
        argv,
        env,
    })
}

fn output_to(sink: Sink) -> Result<OutputTo, LaunchError> {
    let text = |path: PathBuf| {
        let text = CString::new(path.into_os_string().into_vec());
        text.map_err(|_| LaunchError { stage: Stage::Stdio, errno: libc::EINVAL })
    };
    Ok(match sink {
        Sink::Null => OutputTo::Null,
        Sink::File(file) => OutputTo::File(text(file)?),
        Sink::Fifo(fifo) => OutputTo::Fifo(text(fifo)?),
    })
}
