//! Refusals for the values of tables: integers beyond 32 bits, ints that an expression makes too large, and indices
//! that leave their tables. The reference and runs on devices ask the same question.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::expr::{Expr, Table};
use foveal_kernels::{
    Dtype, HostTensor, Name, Problem, TensorData,
    testing::{Reference, Rows},
};

const LEN: usize = 20;

fn problem(mask: Option<&str>, score: Option<&str>, tables: &[(&str, usize)]) -> Result<Attention> {
    let mut spec = Attention::new(Shape::bhtd(1, 2, LEN, 8));
    if let Some(mask) = mask {
        spec = spec.mask(Expr::parse_mask(mask)?);
    }
    if let Some(score) = score {
        spec = spec.score(Expr::parse_score(score)?);
    }
    Ok(tables.iter().fold(spec, |spec, (name, len)| spec.table(Table::new(*name, Dtype::I32, vec![*len]))))
}

/// The problem's inputs with these tables.
fn inputs(spec: &Attention, tables: &[(&str, TensorData)]) -> Result<Vec<(Name, HostTensor)>> {
    let mut inputs = spec.random_inputs(5);
    for (name, data) in tables {
        let (_, tensor) = inputs.iter_mut().find(|(given, _)| given == name).context("no such table")?;
        *tensor = HostTensor::new(vec![data.len()], data.clone())?;
    }
    Ok(inputs)
}

/// The complaint of a run about these tables, which is the reference's too.
fn complaint(spec: &Attention, tables: &[(&str, TensorData)]) -> Result<Option<String>> {
    let inputs = inputs(spec, tables)?;
    let given: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let checked = spec.check_inputs(&given).err().map(|error| error.to_string());
    let reference = spec.reference(&given, Rows::All).err().map(|error| error.to_string());
    ensure!(checked == reference, "{checked:?}, the reference says {reference:?}");
    Ok(checked)
}

/// `LEN` ints, one of them another.
fn with(value: i32, at: usize, other: i32) -> TensorData {
    let mut values = vec![value; LEN];
    values[at] = other;
    TensorData::I32(values)
}

#[test]
fn integers_beyond_32_bits_are_refused() -> Result<()> {
    let spec = problem(Some("same(doc)"), None, &[("doc", LEN)])?;
    let ids = |id: i64| TensorData::I64((0..LEN).map(|at| if at < 7 { 1 } else { id }).collect());
    ensure!(complaint(&spec, &[("doc", ids(i64::from(i32::MAX)))])?.is_none());
    for id in [1 << 31, 1 << 32, 1 << 40, i64::MAX, -(1 << 31) - 1] {
        let said = complaint(&spec, &[("doc", ids(id))])?.context("it was taken")?;
        ensure!(said.contains(&format!("doc: element 7 is {id}; i32 holds")), "{said}");
    }
    let reals = |x: f64| TensorData::F64((0..LEN).map(|at| if at == 2 { x } else { 1.0 }).collect());
    ensure!(complaint(&spec, &[("doc", reals(2e9))])?.is_none());
    for odd in [0.5, 3e9, f64::NAN, f64::INFINITY] {
        let said = complaint(&spec, &[("doc", reals(odd))])?.context("it was taken")?;
        ensure!(said.starts_with("doc: element 2 is "), "{said}");
    }
    Ok(())
}

#[test]
fn a_tensor_says_which_element_its_storage_does_not_hold() -> Result<()> {
    let tensor = |data: TensorData| HostTensor::new(vec![data.len()], data);
    for (data, dtype, at) in [
        (TensorData::I64(vec![1, -1]), Dtype::U8, 1),
        (TensorData::I32(vec![256]), Dtype::U8, 0),
        (TensorData::I32(vec![-128, 128]), Dtype::I8, 1),
        (TensorData::F64(vec![0.0, 0.5]), Dtype::I32, 1),
        (TensorData::F32(vec![f32::NAN]), Dtype::I32, 0),
        (TensorData::F32(vec![0.0, 0.0, 3e9]), Dtype::I32, 2),
    ] {
        let error = tensor(data)?.checked_bytes("ids", dtype).err().context("it was taken")?;
        ensure!(error.to_string().starts_with(&format!("ids: element {at} is ")), "{error}");
    }
    let whole = tensor(TensorData::I64(vec![3, 255]))?.checked_bytes("ids", Dtype::U8)?;
    ensure!(whole == [3, 255, 0, 0], "{whole:?}");
    let signed = tensor(TensorData::I64(vec![3, -1, -128]))?.checked_bytes("ids", Dtype::I8)?;
    ensure!(signed == [3, 255, 128, 0], "{signed:?}");
    let back = HostTensor::from_bytes(vec![3], &signed, Dtype::I8)?;
    ensure!(back.data() == &TensorData::I8(vec![3, -1, -128]) && back.to_f64() == [3.0, -1.0, -128.0]);
    ensure!(HostTensor::from_f32(vec![1], &[2.5], Dtype::I32).is_err());
    ensure!(HostTensor::from_f32(vec![1], &[-1.0], Dtype::U8).is_err());
    Ok(())
}

#[test]
fn ints_that_do_not_fit_are_refused_by_every_operator() -> Result<()> {
    const LARGE: i32 = 1 << 30;
    for (text, value, fits) in [
        ("t[q] + t[k] > 0", LARGE, false),
        ("t[q] + t[k] > 0", LARGE / 2, true),
        ("t[q] - t[k] > 0", i32::MIN, false),
        ("t[q] + 2 * t[k] - q > 0", LARGE - 1, false),
        ("t[k] * 3 > q", LARGE, false),
        ("-t[k] > q", i32::MIN, false),
        ("-t[k] > q", i32::MIN + 1, true),
        ("abs(t[k]) > q", i32::MIN, false),
        ("t[k] / (q - 30) > 3", i32::MIN, true),
        ("t[k] / min(q - 20, -1) > 3", i32::MIN, false),
        ("q / t[k] > 3", 0, true),
        ("q % t[k] > 3", 0, true),
        ("t[k] % 7 > 3", i32::MIN, true),
        ("t[k] > t[q]", i32::MIN, true),
        ("max(t[k], t[q]) > 4", i32::MAX, true),
    ] {
        let spec = problem(Some(text), None, &[("t", LEN)])?;
        let said = complaint(&spec, &[("t", with(1, 3, value))])?;
        ensure!(said.is_none() == fits, "{text} of {value}: {said:?}");
        if let Some(said) = said {
            ensure!(said.starts_with(&format!("t: element 3 is {value}, too large")), "{said}");
            ensure!(said.contains("column ") && said.contains("32 bits"), "{said}");
        }
    }
    Ok(())
}

#[test]
fn computed_indices_are_refused_where_they_leave_their_table() -> Result<()> {
    let doc = |other: i32| ("doc", with(1, 9, other));
    let of = |mask: Option<&str>, score: Option<&str>| problem(mask, score, &[("doc", LEN), ("t", 5)]);
    let t = || ("t", TensorData::I32(vec![1, 2, 3, 4, 5]));
    for (mask, value, said) in [
        ("t[doc[k]] > 0", 4, None),
        ("t[doc[k]] > 0", 5, Some("doc: element 9 is 5, but it indexes dimension 0 of `t`, whose size is 5")),
        ("t[doc[k]] > 0", -1, Some("doc: element 9 is -1, but")),
        ("t[doc[k] + 1] > 0", 3, None),
        (
            "t[doc[k] + 1] > 0",
            4,
            Some("t: index 0 (column 10) is 5 at b = 0, h = 0, q = 0, k = 9; its size is 5"),
        ),
        ("t[doc[q] + doc[k]] > 0", 2, None),
        ("t[doc[q] + doc[k]] > 0", 3, Some("t: index 0 (column 10) is 6 at b = 0, h = 0, q = 9, k = 9")),
        ("t[clamp(doc[k], 0, 4)] > 0", 1 << 24, None),
        ("t[t[doc[k]] - 1] > 0", 4, None),
        ("t[t[doc[k]] - 1] > 0", 5, Some("doc: element 9 is 5")),
        // Whether `doc` exceeds 3 only where it matters, an interval cannot tell.
        ("t[max(doc[k] - k, 0)] > 0", 12, None),
        ("t[max(doc[k] - k, 0)] > 0", 14, Some("t: index 0 (column 3) is 5")),
    ] {
        let spec = of(Some(mask), None)?;
        let got = complaint(&spec, &[doc(value), t()])?;
        match said {
            None => ensure!(got.is_none(), "{mask} of {value}: {got:?}"),
            Some(said) => {
                ensure!(got.as_ref().is_some_and(|got| got.contains(said)), "{mask} of {value}: {got:?}");
            }
        }
    }
    // A hidden score is not asked for.
    let far = [doc(9), t()];
    let score = Some("s + t[doc[k]]");
    ensure!(complaint(&of(Some("k < 9 | q > 30"), score)?, &far)?.is_none());
    ensure!(complaint(&of(Some("doc[k] < 5"), score)?, &far)?.is_none());
    ensure!(complaint(&of(Some("k < 10"), score)?, &far)?.is_some());
    let counted = of(None, score)?.kv_lengths("n");
    for (keys, fits) in [(9, true), (10, false)] {
        let said = complaint(&counted, &[doc(9), t(), ("n", TensorData::I32(vec![keys]))])?;
        ensure!(said.is_none() == fits, "{keys} keys: {said:?}");
    }
    // Indices from the score are moved into the table, here as on the device.
    ensure!(complaint(&of(None, Some("s + t[floor(s * 1000.0)]"))?, &[t()])?.is_none());
    Ok(())
}

/// Random inputs of self-checks have to make sense, for any index that is computed from tables.
#[test]
fn random_tables_fit_the_indices_that_are_computed_from_them() -> Result<()> {
    for text in [
        "t[doc[k] + 1] > 0",
        "t[doc[q] + 2 * doc[k] + 1] > 0",
        "t[doc[k] - 1] > 0",
        "t[(doc[k] + doc[q]) / 2] > 0",
    ] {
        let spec = problem(Some(text), None, &[("doc", LEN), ("t", 5)])?;
        for problem in [&spec as &dyn Problem, &*spec.self_check_problem()] {
            for seed in 0..4 {
                let inputs = problem.random_inputs(seed);
                let given: Vec<(&str, &HostTensor)> =
                    inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
                problem.check_inputs(&given).with_context(|| text.to_owned())?;
            }
        }
    }
    Ok(())
}

#[test]
fn random_tables_of_reals_fit_where_their_floors_are_indices() -> Result<()> {
    let spec = problem(Some("t[floor(x[q] * 2.0)] > 0"), None, &[("t", 5)])?;
    let spec = spec.table(Table::new("x", Dtype::F32, vec![LEN]));
    for problem in [&spec as &dyn Problem, &*spec.self_check_problem()] {
        let inputs = problem.random_inputs(1);
        let given: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        problem.check_inputs(&given)?;
    }
    Ok(())
}

#[test]
fn one_tensor_may_have_several_uses() -> Result<()> {
    let spec = problem(Some("causal & k + 15 >= n[b]"), None, &[("n", 1)])?.kv_lengths("n").q_lengths("n");
    ensure!(spec.tensors().iter().filter(|tensor_spec| tensor_spec.name == "n").count() == 1);
    ensure!(complaint(&spec, &[("n", TensorData::I32(vec![17]))])?.is_none());
    let said = complaint(&spec, &[("n", TensorData::I32(vec![21]))])?.context("it was taken")?;
    ensure!(said.contains("n: element 0 is 21, expected 0 to 20"), "{said}");
    let wrong = problem(Some("k < n[q]"), None, &[("n", LEN)])?.kv_lengths("n");
    let error = wrong.validate().err().context("it was taken")?;
    ensure!(
        error.to_string().contains("expected one type and shape of all tensors of this name, got"),
        "{error}"
    );
    Ok(())
}
