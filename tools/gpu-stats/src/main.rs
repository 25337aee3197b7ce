//! Command line of `gpu-stats`: compile shaders for GPUs without having one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use gpu_stats::{Cost, Error, Family, Job, Report, Setting, model, planned, shims, survey};

/// Exit code where the driver is missing: 1 is a failed compilation, 2 a wrong command line.
const NO_DRIVER: u8 = 3;

const MODEL: &str = "\
THE TABLE
  A part is a maximal run of code inside one loop (inner loops excluded) without a barrier. Parts with a * are hot:
  in a loop, with 8 multiply-adds or more that are a tenth of the instructions at least. `L0.2` is loop 2 inside
  loop 0; a + says that there are loops inside.
  share = multiply-add instructions / all instructions; -waits leaves s_waitcnt, s_nop, s_clause and the like out.

THE MODEL
  A turn of a wave keeps three pipes busy: vector arithmetic, workgroup memory (LDS), vector memory. The slowest one is
  the turn's time, the others hide behind it. In cycles of one SIMD:
    valu   (instructions + 4 x quarter-rate ones) x lanes / SIMD lanes
    lds    bytes a lane x lanes / 128 x SIMDs of the compute unit
    vmem   bytes a lane x lanes / 64 (GCN) or 128 (RDNA) x SIMDs of the compute unit
  model = multiply-add cycles / that time. One multiply-add a lane and cycle is 100 %, on RDNA 3 as well.
  Where less than one wave a SIMD fits, valu is divided by that number: the other SIMDs are idle.
  Of an if/else the longer side counts, as for a wave whose lanes agree; `of` shows taken/all instructions then.
  key tile = all parts of the key loop (the outermost loop with the most multiply-adds), each as often as --turns says.
    vega10           4 SIMDs of 16 lanes, wave64
    navi10, navi21   2 SIMDs of 32 lanes
    gfx1100          the same; a dual-issue instruction takes one slot
  No latencies, bank conflicts, broadcasts, cache misses or instruction fetch. README.md has the reasons.

EXIT CODES
  0 done, 1 shader or worker failed, 2 wrong command line, 3 no driver";

#[derive(Parser)]
#[command(about = "Compiles WGSL compute shaders with the compilers of GPUs that are not here", after_help = MODEL)]
struct Arguments {
    /// WGSL files.
    #[arg(required_unless_present_any = ["planned", "shims"])]
    files: Vec<PathBuf>,
    /// Instead of files, compile every variant of every operator as it would be planned for each family.
    #[arg(long, conflicts_with = "files")]
    planned: bool,
    /// The same for other makers' GPUs, with the drivers that tools/drivers.sh fetches.
    #[arg(long, conflicts_with_all = ["files", "planned", "family", "parts", "asm", "json"])]
    shims: bool,
    /// Of those, devices such as radv:navi31 or nvk:172; all by default.
    #[arg(long, value_delimiter = ',', requires = "shims", value_parser = device)]
    device: Vec<shims::Device>,
    /// Write the figures that the test compares with.
    #[arg(long, conflicts_with_all = ["files", "family", "device"])]
    write_figures: bool,
    /// Families to compile for: vega10, navi10, navi21, gfx1100.
    #[arg(long, value_delimiter = ',', default_values_t = Family::USUAL)]
    family: Vec<Family>,
    /// Entry point, where a file has several.
    #[arg(long)]
    entry: Option<String>,
    /// Value of an `override` constant; repeat for more.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair::<String>)]
    constants: Vec<(String, f64)>,
    /// Zero workgroup memory at the start, as wgpu does unless told otherwise.
    #[arg(long)]
    zero_workgroup_memory: bool,
    /// Demand this subgroup size (RDNA: 32 or 64); the driver chooses otherwise, as under wgpu.
    #[arg(long, value_name = "LANES")]
    subgroup_size: Option<u32>,
    /// Turns of a loop each time it is entered, by the loop's last number in the table, for the estimate of a key tile;
    /// repeat for more. Loops not named count once.
    #[arg(long, value_name = "LOOP=COUNT", value_parser = pair::<usize>)]
    turns: Vec<(usize, f64)>,
    /// Leave the body of a plain `if`, given by its first block's label, out of the model: it hardly ever runs.
    #[arg(long, value_name = "LABEL", conflicts_with = "planned")]
    rare: Vec<String>,
    /// List all parts, with their commonest other vector instructions.
    #[arg(long)]
    parts: bool,
    /// Print the assembly.
    #[arg(long)]
    asm: bool,
    /// Print the reports as JSON (the assembly only with --asm).
    #[arg(long)]
    json: bool,
}

fn pair<K: std::str::FromStr>(text: &str) -> Result<(K, f64), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    let key = key.parse().map_err(|_| format!("{key} is not a valid key"))?;
    let value = value.parse().map_err(|_| format!("{value} is not a number"))?;
    Ok((key, value))
}

fn device(name: &str) -> Result<shims::Device, String> {
    shims::DEVICES.into_iter().find(|device| device.name == name).ok_or_else(|| {
        let known: Vec<&str> = shims::DEVICES.iter().map(|device| device.name).collect();
        format!("unknown device {name}; known are {}", known.join(", "))
    })
}

fn main() -> ExitCode {
    gpu_stats::serve_if_asked();
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gpu-stats: {error}");
            match error {
                Error::NoDriver { .. } => ExitCode::from(NO_DRIVER),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let program = std::env::current_exe()
        .map_err(|e| Error::Worker { message: format!("this program does not know its own path: {e}") })?;
    if arguments.planned {
        return run_planned(arguments, &program);
    }
    if arguments.shims {
        return run_shims(arguments, &program);
    }
    let mut jobs = Vec::new();
    for file in &arguments.files {
        let label = file.display().to_string();
        let wgsl = std::fs::read_to_string(file)
            .map_err(|e| Error::Shader { label: label.clone(), message: e.to_string() })?;
        jobs.push(Job {
            entry_point: arguments.entry.clone(),
            constants: arguments.constants.iter().cloned().collect(),
            zero_workgroup_memory: arguments.zero_workgroup_memory,
            subgroup_size: arguments.subgroup_size,
            ..Job::new(label, wgsl)
        });
    }
    let mut reports = survey(&program, &arguments.family, &jobs)?;
    if !arguments.rare.is_empty() {
        reports.iter_mut().for_each(|r| r.leave_out(&arguments.rare));
    }

    if arguments.json {
        if !arguments.asm {
            reports.iter_mut().for_each(|r| r.assembly.clear());
        }
        let all: Vec<Printed<'_>> = reports.iter().map(Printed::new).collect();
        println!("{}", json(&all)?);
        return Ok(());
    }
    for job in &jobs {
        println!("{}", job.label);
        for report in reports.iter().filter(|r| r.label == job.label) {
            show(arguments, report);
        }
    }
    Ok(())
}

/// Where the checked-in figures are.
const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/figures.json");

fn run_planned(arguments: &Arguments, program: &Path) -> Result<(), Error> {
    let survey = planned::measure(program, &arguments.family)?;
    if arguments.write_figures {
        let text = json(&survey.figures)? + "\n";
        std::fs::write(FIGURES, text)
            .map_err(|e| Error::Worker { message: format!("{FIGURES} cannot be written: {e}") })?;
    }
    if arguments.json {
        println!("{}", json(&survey.figures)?);
        return Ok(());
    }
    println!("{}", survey.figures.driver);
    println!("{}", planned::table(&survey.figures));
    for figure in &survey.figures.all {
        if let Some(reason) = &figure.unknown {
            println!("{}: no whole-kernel share: {reason}", figure.name());
        }
    }
    for reason in &survey.missing {
        println!("no figure: {reason}");
    }
    if arguments.parts {
        for report in &survey.reports {
            println!("\n{}\n{}\n{}", report.label, report.headline(), report.table(true));
        }
    }
    Ok(())
}

fn run_shims(arguments: &Arguments, program: &Path) -> Result<(), Error> {
    let all = arguments.device.is_empty();
    let devices = if all { &shims::DEVICES[..] } else { &arguments.device };
    let survey = shims::measure(program, devices)?;
    if arguments.write_figures {
        let file = shims::folder().join(format!("mesa-{}.txt", survey.version));
        std::fs::write(&file, survey.figures.text())
            .map_err(|e| Error::Worker { message: format!("{} cannot be written: {e}", file.display()) })?;
    }
    println!("Mesa {}: compiled, never executed", survey.version);
    println!("registers / spills / occupancy, % / workgroup memory, bytes / multiply-adds, %");
    println!("{}", shims::table(&survey.figures));
    for reason in &survey.missing {
        println!("no figure: {reason}");
    }
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map_err(|e| Error::Worker { message: e.to_string() })
}

/// A report with what the model says of it.
#[derive(serde::Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    report: &'a Report,
    setting: Setting,
    /// One for each part.
    costs: Vec<Cost>,
}

impl<'a> Printed<'a> {
    fn new(report: &'a Report) -> Self {
        let setting = report.setting();
        Self { report, setting, costs: report.parts.iter().map(|p| model(&p.taken, setting)).collect() }
    }
}

fn show(arguments: &Arguments, report: &Report) {
    println!("\n{}", report.headline());
    println!("{}", report.table(arguments.parts));
    let tile = report.tile(&arguments.turns);
    let unknown = report.unknown_turns(&arguments.turns);
    if tile.cycles > 0.0 && (unknown.is_empty() || !arguments.turns.is_empty()) {
        let all_sides = report.tile_all_sides(&arguments.turns).share() * 100.0;
        print!("key tile: {:.0} cycles, {:.1}% of peak", tile.cycles, tile.share() * 100.0);
        print!(" ({all_sides:.1}% with both sides of every if/else)");
        if !unknown.is_empty() {
            print!(" (loops {unknown:?} counted once)");
        }
        println!();
    }
    if arguments.asm {
        println!("{}", report.assembly);
    }
}
