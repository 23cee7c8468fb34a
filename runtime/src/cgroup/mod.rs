//! Control groups: one request, two kernels' interfaces.
