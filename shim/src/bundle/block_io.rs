//! Limits of block devices: paths become numbers at each start.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{major, minor};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder,
};

use crate::error::{Error, Result};
use crate::model::{HostConfig, ThrottleDevice};
use crate::options::rights::plain;

/// The block I/O part, when there is any.
pub fn limits(host: &HostConfig) -> Result<Option<LinuxBlockIo>> {
    let mut io = LinuxBlockIo::default();
    io.set_weight((host.blkio_weight != 0).then_some(host.blkio_weight));
    let mut weights = Vec::new();
    for device in host.blkio_weight_device.iter().flatten() {
        let (major, minor) = number(&device.path)?;
        let weight = LinuxWeightDeviceBuilder::default();
        let weight = weight.major(major).minor(minor).weight(device.weight).build();
        weights.push(weight.map_err(|e| Error::engine(e.to_string()))?);
    }
    io.set_weight_device(some(weights))
        .set_throttle_read_bps_device(throttles(host.blkio_device_read_bps.as_deref())?)
        .set_throttle_write_bps_device(throttles(host.blkio_device_write_bps.as_deref())?)
        .set_throttle_read_iops_device(throttles(host.blkio_device_read_iops.as_deref())?)
        .set_throttle_write_iops_device(throttles(host.blkio_device_write_iops.as_deref())?);
    Ok((io != LinuxBlockIo::default()).then_some(io))
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn throttles(devices: Option<&[ThrottleDevice]>) -> Result<Option<Vec<LinuxThrottleDevice>>> {
    let mut all = Vec::new();
    for device in devices.unwrap_or_default() {
        let (major, minor) = number(&device.path)?;
        let throttle = LinuxThrottleDeviceBuilder::default();
        let throttle = throttle.major(major).minor(minor).rate(device.rate).build();
        all.push(throttle.map_err(|e| Error::engine(e.to_string()))?);
    }
    Ok(some(all))
}

fn number(path: &str) -> Result<(i64, i64)> {
    let at = Path::new(path);
    let meta =
        std::fs::metadata(at).map_err(|e| Error::engine(format!("stat {path}: {}", plain(&e))))?;
    if !meta.file_type().is_block_device() {
        return Err(Error::io("block device", at, "is none; 'lsblk' lists them"));
    }
    Ok((major(meta.rdev()) as i64, minor(meta.rdev()) as i64))
}
