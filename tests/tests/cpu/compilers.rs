//! Planned kernels, translated by naga, go through the compilers of platforms that are not at hand.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use foveal_tests::compilers::{Compiler, Source};
use foveal_tests::planned::Kernel;
use foveal_tests::translate::{self, Validated};
use foveal_tests::{parallel, say, skipped};

use crate::kernels::{sample, validated};

/// Declarations of Metal's library.
const METAL_STUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/compilers/metal_stub.hpp");

/// How kernels become a language, and mistakes that its compilers refuse: the first of a pair replaced by the second.
struct Language {
    translate: fn(&Validated, &Kernel) -> Result<String>,
    /// Of HLSL.
    profile: &'static str,
    mistakes: &'static [(&'static str, &'static str)],
}

const GLSL: Language = Language {
    translate: |kernel, of| {
        let interface = &of.specialised.interface;
        translate::opengl(kernel, &interface.entry, interface.uses_subgroups)
    },
    profile: "",
    mistakes: &[("gl_WorkGroupID", "gl_WorkgroupID"), ("barrier()", "barrier(1)"), ("vec4 ", "vec5 ")],
};

const MSL: Language = Language {
    translate: |kernel, _| translate::metal(kernel),
    profile: "",
    mistakes: &[
        ("metal::fma(", "metal::fam("),
        ("metal::min(", "metal::min(1.0, "),
        ("metal::float4 ", "metal::uint2 "),
        ("metal::mem_flags::", "metal::"),
    ],
};

const HLSL_MISTAKES: &[(&str, &str)] = &[
    ("SV_GroupID", "SV_GroopID"),
    ("mad(", "mda("),
    ("GroupMemoryBarrierWithGroupSync()", "GroupMemoryBarrierWithSync()"),
];

/// For DXC, which wgpu takes if it is there.
const HLSL_6: Language = Language {
    translate: |kernel, _| translate::direct3d(kernel, true),
    profile: "cs_6_0",
    mistakes: HLSL_MISTAKES,
};

/// For FXC, without subgroups.
const HLSL_5: Language = Language {
    translate: |kernel, _| translate::direct3d(kernel, false),
    profile: "cs_5_1",
    mistakes: HLSL_MISTAKES,
};

/// The compiler takes all `kernels`; and it refuses each of the language's mistakes, made in one of their texts.
fn takes_all(name: &str, compiler: &Compiler, kernels: &[Kernel], language: &Language) -> Result<()> {
    let scratch = scratch(name)?;
    let source = |kernel: &Kernel| -> Result<Source> {
        let validated = validated(&kernel.specialised)?;
        Ok(Source {
            name: kernel.name.clone(),
            text: (language.translate)(&validated, kernel).with_context(|| kernel.name.clone())?,
            entry: kernel.specialised.interface.entry.clone(),
            profile: language.profile,
        })
    };
    let sources: Vec<Source> = parallel::map(kernels, source).into_iter().collect::<Result<_>>()?;
    let complaints = compiler.complaints(&sources, &scratch)?;
    let shown = complaints.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    ensure!(complaints.is_empty(), "{name} refuses {} of {}:\n{shown}", complaints.len(), sources.len());
    for (from, to) in language.mistakes {
        // The shortest text is enough.
        let with = sources.iter().filter(|source| source.text.contains(from));
        let source = with.min_by_key(|source| source.text.len());
        let source = source.with_context(|| format!("no text has `{from}`"))?;
        let spoilt = Source { text: source.text.replacen(from, to, 1), ..source.clone() };
        ensure!(compiler.complaints(&[spoilt], &scratch)?.len() == 1, "{name} takes `{to}` for `{from}`");
    }
    say(&format!("{name} takes {} kernels, and refuses {} mistakes", sources.len(), language.mistakes.len()));
    Ok(())
}

/// Some of all planned kernels. GLSL and HLSL have no matrices of subgroups, and without address spaces Metal's loads of them are one
/// function, defined twice.
fn of_all(who: &str, most: usize) -> Result<Vec<Kernel>> {
    let mut kernels = sample(who, most)?;
    kernels.retain(|kernel| !kernel.specialised.interface.uses_matrices);
    Ok(kernels)
}

/// A folder of this compiler's own, beside the build.
fn scratch(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shader-compilers").join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Where `tools/shader-compilers.sh` puts Microsoft's.
fn microsoft(name: &str) -> Option<Compiler> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
    Compiler::microsoft(&target.join("shader-compilers"), name)
}

/// As many kernels, or all of them where other platforms are tested in full.
fn most(number: usize) -> usize {
    if std::env::var("FOVEAL_ALL_PLATFORMS").is_ok_and(|value| value == "1") { usize::MAX } else { number }
}

#[test]
fn khronos_compiler_takes_glsl() -> Result<()> {
    let Some(compiler) = Compiler::glslang() else {
        skipped("GLSL", "glslangValidator is not installed (Debian: glslang-tools)");
        return Ok(());
    };
    takes_all("glslangValidator", &compiler, &of_all("glslangValidator", most(500))?, &GLSL)
}

#[test]
fn a_compiler_with_declarations_of_metal_takes_msl() -> Result<()> {
    let Some(compiler) = Compiler::metal(Path::new(METAL_STUB), &scratch("g++")?)? else {
        skipped("MSL", "g++ is not installed, or too old for C++20");
        return Ok(());
    };
    takes_all("g++", &compiler, &of_all("g++", most(300))?, &MSL)
}

#[test]
fn microsofts_dxc_takes_hlsl() -> Result<()> {
    let Some(compiler) = microsoft("dxc") else {
        skipped("HLSL by DXC", "tools/shader-compilers.sh has not brought it");
        return Ok(());
    };
    takes_all("DXC", &compiler, &of_all("DXC", most(400))?, &HLSL_6)
}

#[test]
fn microsofts_dxc_for_windows_takes_hlsl() -> Result<()> {
    let Some(compiler) = microsoft("dxc-windows") else {
        skipped("HLSL by DXC for Windows", "`tools/shader-compilers.sh all` brings it, for Wine");
        return Ok(());
    };
    takes_all("DXC for Windows", &compiler, &of_all("DXC for Windows", most(200))?, &HLSL_6)
}

#[test]
fn microsofts_fxc_takes_hlsl() -> Result<()> {
    let Some(compiler) = microsoft("fxc") else {
        skipped("HLSL by FXC", "`tools/shader-compilers.sh all` brings it, for Wine");
        return Ok(());
    };
    let mut kernels = of_all("FXC", most(150))?;
    kernels.retain(|kernel| !kernel.specialised.interface.uses_subgroups);
    takes_all("FXC", &compiler, &kernels, &HLSL_5)
}
