//! Reads ACO's assembly text: labels, instructions and what each of them costs.
//!
//! The text is what `VK_KHR_pipeline_executable_properties` returns under the name "Assembly": one `BBn:` line a basic
//! block, one tab-indented instruction a line, its encoding behind a semicolon.

/// One machine instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Mnemonic without the encoding suffix (`_e32`, `_e64`, `_dpp`, `_sdwa`).
    pub mnemonic: String,
    /// Mnemonic of the second half of a dual-issue (VOPD) instruction, without `v_dual_`.
    pub second: Option<String>,
    /// Everything behind the mnemonic.
    pub operands: String,
}

/// A labelled stretch of code that is entered at its top only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The label as printed, without the colon. Code behind a branch in mid-block gets a `+n` suffix.
    pub label: String,
    /// Instructions in order of address.
    pub instructions: Vec<Instruction>,
}

/// Classes of instructions in the model and the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Multiply-adds; the number says how many a lane does in this one instruction.
    Fma(u32),
    /// Exponentials, reciprocals, roots and the like, at a quarter of the rate.
    Transcendental,
    /// 32-bit integer multiplication and 64-bit arithmetic, at a quarter of the rate as well.
    SlowValu,
    /// Every other vector instruction.
    Valu,
    /// Workgroup memory read of so many bytes a lane.
    LdsRead(u32),
    /// Workgroup memory write of so many bytes a lane.
    LdsWrite(u32),
    /// Lane permutation, atomic or other use of the workgroup memory's pipe; bytes a lane.
    LdsOther(u32),
    /// Vector memory load of so many bytes a lane.
    VmemLoad(u32),
    /// Vector memory store (or atomic) of so many bytes a lane.
    VmemStore(u32),
    /// Scalar arithmetic.
    Salu,
    /// Scalar memory.
    Smem,
    /// Jumps, conditional or not, and the end of the program.
    Branch,
    /// Workgroup barrier.
    Barrier,
    /// Waits, no-ops, clause and prefetch hints: an issue slot, but no unit's time.
    Wait,
    /// Instructions that the disassembler or this parser does not know.
    Unknown,
}

/// Splits the text into blocks. Padding behind the program and constant data are left out.
pub fn parse(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines() {
        let code = line.split(';').next().unwrap_or_default().trim();
        // RDNA programs end in padding for the instruction prefetcher.
        if code.starts_with("/* constant data") || code == "s_code_end" {
            break;
        }
        if code.is_empty() {
            continue;
        }
        if let Some(label) = code.strip_suffix(':') {
            blocks.push(Block { label: label.to_owned(), instructions: Vec::new() });
            continue;
        }
        // Text may start without a label, and a block ends behind its branch.
        let after_branch =
            blocks.last().is_none_or(|b| b.instructions.last().is_some_and(|i| i.class() == Class::Branch));
        if after_branch && !code.starts_with('(') {
            let label = blocks.last().map_or_else(|| "BB0".to_owned(), |b| continued(&b.label));
            blocks.push(Block { label, instructions: Vec::new() });
        }
        let Some(block) = blocks.last_mut() else { continue };
        if let Some(times) = repeated(code) {
            if let Some(last) = block.instructions.last().cloned() {
                block.instructions.extend(std::iter::repeat_n(last, times));
            }
            continue;
        }
        block.instructions.push(Instruction::parse(code));
    }
    blocks
}

/// `BB3` → `BB3+1` → `BB3+2`.
fn continued(label: &str) -> String {
    match label.split_once('+') {
        Some((name, n)) => format!("{name}+{}", n.parse::<u32>().unwrap_or(0) + 1),
        None => format!("{label}+1"),
    }
}

/// Mesa prints runs of one instruction as `(then repeated N times)`.
fn repeated(code: &str) -> Option<usize> {
    code.strip_prefix("(then repeated ")?.split(' ').next()?.parse().ok()
}

impl Instruction {
    fn parse(code: &str) -> Self {
        let mut halves = code.split("::").map(str::trim);
        let first = halves.next().unwrap_or_default();
        let (mnemonic, operands) = first.split_once(char::is_whitespace).unwrap_or((first, ""));
        let second = halves
            .next()
            .and_then(|h| h.split_whitespace().next())
            .map(|m| bare(m.strip_prefix("v_dual_").unwrap_or(m)));
        Self { mnemonic: bare(mnemonic), second, operands: operands.trim().to_owned() }
    }

    /// Label this instruction may jump to.
    pub fn target(&self) -> Option<&str> {
        let jumps = self.mnemonic == "s_branch" || self.mnemonic.starts_with("s_cbranch");
        jumps.then(|| self.operands.split(',').next_back().unwrap_or_default().trim())
    }

    /// Whether control can go on to the next instruction.
    pub fn falls_through(&self) -> bool {
        !matches!(self.mnemonic.as_str(), "s_branch" | "s_endpgm" | "s_setpc_b64")
    }

    /// Which unit does the work, and how much of it a lane asks for.
    pub fn class(&self) -> Class {
        let name = self.mnemonic.as_str();
        match name.split_once('_').map_or("", |(prefix, _)| prefix) {
            "v" => self.vector(),
            "s" => scalar(name),
            "ds" => lds(name),
            "buffer" | "global" | "flat" | "scratch" | "tbuffer" | "image" => vmem(name),
            _ => Class::Unknown,
        }
    }

    fn vector(&self) -> Class {
        let name = self.mnemonic.strip_prefix("v_").unwrap_or(&self.mnemonic);
        if let Some(first) = name.strip_prefix("dual_") {
            let fmas = fmas(first) + self.second.as_deref().map_or(0, fmas);
            return if fmas > 0 { Class::Fma(fmas) } else { Class::Valu };
        }
        let fmas = fmas(name);
        // Products and conversions of 16-bit numbers are written as multiply-adds of nothing.
        if fmas > 0 && !(name.starts_with("fma_mix") && self.operands.contains("neg(0)")) {
            return Class::Fma(fmas);
        }
        let operation = name.split('_').next().unwrap_or_default();
        match operation {
            "exp" | "log" | "rcp" | "rsq" | "sqrt" | "sin" | "cos" => Class::Transcendental,
            _ if name.starts_with("mul_lo_u32") || name.starts_with("mul_lo_i32") => Class::SlowValu,
            _ if name.starts_with("mul_hi_u32") || name.starts_with("mul_hi_i32") => Class::SlowValu,
            _ if name.starts_with("mad_u64") || name.starts_with("mad_i64") => Class::SlowValu,
            _ if name.ends_with("_f64") => Class::SlowValu,
            _ => Class::Valu,
        }
    }
}

/// Drops the suffix that names an encoding: it says nothing about the operation.
fn bare(mnemonic: &str) -> String {
    let mut name = mnemonic;
    for suffix in ["_e64_dpp", "_e32", "_e64", "_dpp8", "_dpp", "_sdwa"] {
        name = name.strip_suffix(suffix).unwrap_or(name);
    }
    name.to_owned()
}

/// Multiply-adds a lane does in a vector operation given without `v_` or `v_dual_`; 0 for any other operation.
fn fmas(name: &str) -> u32 {
    let (name, lanes) = match name.strip_prefix("pk_") {
        Some(rest) => (rest, 2),
        None => (name, 1),
    };
    let floating = name.ends_with("f32") || name.ends_with("f16");
    let operation = name.split('_').next().unwrap_or_default();
    match operation {
        "fma" | "fmac" | "fmaak" | "fmamk" | "mac" | "mad" | "madak" | "madmk" if floating => lanes,
        // `v_fma_mixlo_f16` and friends convert on the way but do one multiply-add.
        "dot2" | "dot2c" if name.contains("_f32_f16") => 2,
        _ => 0,
    }
}

fn scalar(name: &str) -> Class {
    if name == "s_barrier" {
        Class::Barrier
    } else if name.starts_with("s_branch")
        || name.starts_with("s_cbranch")
        || name.starts_with("s_endpgm")
        || name.starts_with("s_setpc")
    {
        Class::Branch
    } else if name.starts_with("s_wait")
        || matches!(
            name,
            "s_nop" | "s_clause" | "s_delay_alu" | "s_inst_prefetch" | "s_set_inst_prefetch_distance"
        )
        || matches!(name, "s_sleep" | "s_sendmsg")
    {
        Class::Wait
    } else if name.starts_with("s_load") || name.starts_with("s_buffer") || name.starts_with("s_dcache") {
        Class::Smem
    } else {
        Class::Salu
    }
}

fn lds(name: &str) -> Class {
    let twice = if name.contains("2_") || name.contains("2st64_") || name.contains("2addr_") { 2 } else { 1 };
    let bytes = width(name) * twice;
    if name.starts_with("ds_read") || name.starts_with("ds_load") {
        Class::LdsRead(bytes)
    } else if name.starts_with("ds_write") || name.starts_with("ds_store") {
        Class::LdsWrite(bytes)
    } else {
        Class::LdsOther(bytes)
    }
}

fn vmem(name: &str) -> Class {
    let bytes = width(name);
    if name.contains("_load") || name.contains("_sample") || name.contains("_gather") {
        Class::VmemLoad(bytes)
    } else if name.contains("_store") || name.contains("_atomic") {
        Class::VmemStore(bytes)
    } else {
        // Cache invalidations and write-backs move no lane's data.
        Class::VmemLoad(0)
    }
}

/// Bytes a lane moves, from the last part of the mnemonic that names a type: `b128`, `u8`, `dwordx4`, `short`.
fn width(name: &str) -> u32 {
    name.rsplit('_')
        .find_map(|part| {
            Some(match part {
                "dword" => 4,
                "dwordx2" => 8,
                "dwordx3" => 12,
                "dwordx4" => 16,
                "ubyte" | "sbyte" | "byte" => 1,
                "ushort" | "sshort" | "short" => 2,
                _ => {
                    part.strip_prefix(['b', 'u', 'i', 'f'])?
                        .parse::<u32>()
                        .ok()
                        .filter(|bits| bits % 8 == 0)?
                        / 8
                }
            })
        })
        .unwrap_or(4)
}
