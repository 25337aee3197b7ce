//! How long a fresh process takes to its first result.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::testing::Reference;
use safetensors::tensor::{Dtype, TensorView};

/// Time of `foveal run` on 1x8x512x64 with no cache of ours or the driver's, then with the caches that run filled; nothing if
/// the command is not there.
pub(crate) fn first_results(adapter: &str) -> Result<Option<[Duration; 2]>> {
    let command = std::env::current_exe()?.with_file_name(format!("foveal{}", std::env::consts::EXE_SUFFIX));
    if !command.exists() {
        eprintln!("no {} (cargo build --release makes it): process times are left out", command.display());
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("qkv.safetensors");
    write_input(&input)?;
    let run = || -> Result<Duration> {
        let start = Instant::now();
        let status = Command::new(&command)
            .args(["run", "attention", "--adapter", adapter, "--input"])
            .arg(&input)
            .arg("--output")
            .arg(folder.path().join("o.safetensors"))
            // Foveal's caches and Mesa's both follow this.
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("cannot start {}", command.display()))?;
        ensure!(status.success(), "foveal run failed");
        Ok(start.elapsed())
    };
    let cold = run()?;
    let warm = run()?.min(run()?);
    Ok(Some([cold, warm]))
}

fn write_input(path: &Path) -> Result<()> {
    let spec = Attention::new(Shape::bhtd(1, 8, 512, 64));
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = spec
        .random_inputs(1)
        .into_iter()
        .map(|(name, tensor)| (name.into_owned(), tensor.shape().to_vec(), tensor.to_bytes(spec.dtype)))
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    safetensors::serialize_to_file(views, None, path)?;
    Ok(())
}
