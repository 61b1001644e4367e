//! What a run computes on: device, threads, libtorch, kernels. Equal machines give equal bits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::error::InputError;

/// The key `device` of a run's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU where libtorch finds one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = InputError;

    fn from_str(text: &str) -> Result<DeviceChoice, InputError> {
        match text {
            "auto" => return Ok(DeviceChoice::Auto),
            "cpu" => return Ok(DeviceChoice::Cpu),
            "cuda" => return Ok(DeviceChoice::Cuda(0)),
            _ => {}
        }
        let number = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        number.map(DeviceChoice::Cuda).ok_or_else(|| {
            InputError::config(
                "device",
                format!("{text:?} is unknown; use \"auto\", \"cpu\" or \"cuda:0\""),
            )
        })
    }
}

impl DeviceChoice {
    /// The device, after loading libtorch's GPU back end where one is wanted and there.
    ///
    /// # Errors
    /// A GPU that libtorch does not find; an `FCMAE_KERNELS` that names no kernels of this CPU.
    pub fn find(self) -> Result<Device, InputError> {
        fcmae_kernels::check_forced().map_err(|message| InputError::config("FCMAE_KERNELS", message))?;
        match self {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Auto if fcmae_torch_ext::load_cuda() => Ok(Device::Cuda(0)),
            DeviceChoice::Auto => Ok(Device::Cpu),
            DeviceChoice::Cuda(number) => {
                let found = if fcmae_torch_ext::load_cuda() {
                    tch::Cuda::device_count()
                } else {
                    0
                };
                if (number as i64) < found {
                    return Ok(Device::Cuda(number));
                }
                let message = format!(
                    "\"cuda:{number}\" is not there, libtorch finds {found} GPU(s); use \"auto\" or \"cpu\", or start the \
                     program with the `lib` folder of a CUDA libtorch first on LD_LIBRARY_PATH"
                );
                Err(InputError::config("device", message))
            }
        }
    }
}

/// What decides the last bits of a result beside the config; saved with every checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// `"cpu"`, `"cuda:0"`, ….
    pub device: String,
    /// The kernels' back end, in words.
    pub kernels: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// Threads of libtorch.
    pub threads: usize,
}

impl Machine {
    /// What configs may ask for; no machine has as many cores.
    const MAX_THREADS: usize = 1024;

    /// Refuses more threads than that.
    pub(crate) fn check_threads(threads: usize) -> Result<(), InputError> {
        if threads <= Machine::MAX_THREADS {
            return Ok(());
        }
        let message = format!("is {threads}; use at most 1024 (0 = one per core)");
        Err(InputError::config("threads", message))
    }

    /// Sets libtorch's number of threads (0 = one per core, at most 1024) for this thread's work, and says what is
    /// there for activations of `kind`.
    #[must_use]
    pub fn set_up(device: Device, threads: usize, kind: Kind) -> Machine {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores() } else { threads }.min(Machine::MAX_THREADS);
        tch::set_num_threads(threads as i32);
        Machine {
            device: device_name(device),
            kernels: fcmae_kernels::backend(device, kind).to_owned(),
            libtorch: fcmae_torch_ext::libtorch_version().to_owned(),
            threads,
        }
    }

    /// The same, where something of the network does not run on these kernels: what, and how it runs, in words.
    #[must_use]
    pub fn except(mut self, off_kernels: Option<&str>) -> Machine {
        if let Some(what) = off_kernels {
            self.kernels = format!("{}; {what}", self.kernels);
        }
        self
    }

    /// What differs from `other`, in words; empty where results are equal to the last bit.
    #[must_use]
    pub fn differences(&self, other: &Machine) -> Vec<String> {
        let pairs = [
            ("device", &self.device, &other.device),
            ("kernels", &self.kernels, &other.kernels),
            ("libtorch", &self.libtorch, &other.libtorch),
            ("threads", &self.threads.to_string(), &other.threads.to_string()),
        ];
        let differing = pairs.into_iter().filter(|(_, before, after)| before != after);
        differing
            .map(|(what, before, after)| format!("{what}: was {before}, is {after}"))
            .collect()
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.threads == 1 { "" } else { "s" };
        write!(
            f,
            "{}, {} thread{plural}, kernels: {}",
            self.device, self.threads, self.kernels
        )
    }
}

/// Largest memory of this process so far: Linux's `VmHWM`, in MiB; elsewhere it is not known.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(kibibytes(&status, "VmHWM:")? >> 10)
}

/// Lets [`peak_memory`] begin anew; where the system refuses, it goes on from the largest so far.
pub(crate) fn reset_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Memory of this process now: Linux's `VmRSS`, in MiB.
pub(crate) fn own_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(kibibytes(&status, "VmRSS:")? >> 10)
}

/// What this process could have in all, in MiB: what it has, and what the machine could still give, or what the
/// control groups around it allow. Elsewhere than on Linux it is not known.
pub(crate) fn memory() -> Option<u64> {
    let read = |file: &str| std::fs::read_to_string(file).ok();
    let free = kibibytes(&read("/proc/meminfo")?, "MemAvailable:")? >> 10;
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limit = group_limit(&groups, read).map_or(u64::MAX, |bytes| bytes >> 20);
    Some((free + own_memory()?).min(limit))
}

/// The least that a control group around this process allows, in bytes; `groups` as in `/proc/self/cgroup`. Each group
/// on the way to the root may have a limit of its own (a job of SLURM: its step, the job, the user), and in a container
/// the way may begin above the root that is seen there.
fn group_limit(groups: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let files = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let place = match controllers {
            "" => Some(("/sys/fs/cgroup", "memory.max")),
            v1 if v1.split(',').any(|name| name == "memory") => {
                Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes"))
            }
            _ => None,
        };
        place.into_iter().flat_map(move |(root, file)| {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            ends.map(move |end| format!("{root}{}/{file}", path[..end].trim_end_matches('/')))
        })
    });
    files.filter_map(|file| read(&file)?.trim().parse().ok()).min()
}

/// The value of a line such as `VmRSS:   5124 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(number) => format!("cuda:{number}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_libtorch_writes_them() {
        assert_eq!("auto".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        assert_eq!("cuda:3".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(3));
        for bad in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            let error = bad.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`device`: {bad:?} is unknown")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_refused() {
        let error = DeviceChoice::Cuda(1000).find().unwrap_err().to_string();
        assert!(error.contains("\"cuda:1000\" is not there"), "{error}");
        assert_eq!(DeviceChoice::Cpu.find().unwrap(), Device::Cpu);
    }

    #[test]
    fn memory_is_read_where_the_system_tells() {
        assert_eq!(
            kibibytes("VmPeak:\t 9 kB\nVmRSS:\t  5124 kB\n", "VmRSS:"),
            Some(5124)
        );
        assert_eq!(kibibytes("VmRSS: much", "VmRSS:"), None);
        if cfg!(target_os = "linux") {
            assert!(memory() > Some(1) && memory() >= peak_memory(), "{:?}", memory());
        }
    }

    #[test]
    fn every_control_group_on_the_way_may_have_a_limit() {
        let files = [
            ("/sys/fs/cgroup/memory.max", "max\n"),
            ("/sys/fs/cgroup/slurm/memory.max", "9000\n"),
            ("/sys/fs/cgroup/slurm/job_7/memory.max", "8000\n"),
            ("/sys/fs/cgroup/slurm/job_7/step_0/memory.max", "max\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "700\n"),
        ];
        let read = |file: &str| {
            let found = files.iter().find(|(name, _)| *name == file)?;
            Some(found.1.to_owned())
        };
        for (groups, limit) in [
            ("0::/slurm/job_7/step_0\n", Some(8000)),
            ("0::/slurm\n", Some(9000)),
            ("0::/\n", None),
            ("5:cpu:/a\n4:cpuset,memory:/host/only\n0::/\n", Some(700)),
            ("", None),
        ] {
            assert_eq!(group_limit(groups, read), limit, "{groups}");
        }
    }

    #[test]
    fn machines_are_compared_in_words() {
        // One thread, as in every test of this crate: the number is libtorch's, not the test's alone.
        let machine = Machine::set_up(Device::Cpu, 1, Kind::Float);
        assert_eq!(machine.differences(&machine), Vec::<String>::new());
        let other = Machine {
            threads: 3,
            ..machine.clone()
        };
        assert_eq!(machine.differences(&other), ["threads: was 1, is 3"]);
        let composed = machine.clone().except(Some("its blocks by libtorch"));
        assert!(
            composed.to_string().ends_with("; its blocks by libtorch"),
            "{composed}"
        );
        assert_eq!(machine.clone().except(None), machine);
    }
}
