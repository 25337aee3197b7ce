//! Lists of expressions.

use super::{
    super::{BlockMask, Elements},
    brute, check_form, sizes,
};
use crate::{
    Dtype, HostTensor, TensorData,
    expr::{Classifier, Evaluator, Expr, Sizes, Table},
};

#[test]
fn lists_of_expressions_are_those_of_their_elements() {
    for text in
        ["causal & window(30, 0)", "disc(10, 3) | k < 5", "same(doc) & k >= h * 7", "h % 2 == 0 & k == q"]
    {
        let sizes = Sizes { q_heads: 3, kv_heads: 3, ..sizes(90, 90) };
        let documents =
            HostTensor::new(vec![90], TensorData::I32((0..90).map(|i| i / 25).collect())).unwrap();
        let program =
            Expr::parse_mask(text).unwrap().bind(&[Table::new("doc", Dtype::I32, vec![90])]).unwrap();
        let classifier = Classifier::new(&program, sizes);
        let lists = BlockMask::from_classes(sizes, 16, 8, false, true, &classifier).unwrap();
        check_form(&lists);
        let evaluator = Evaluator::new(&program, sizes, &[("doc", &documents)]).unwrap();
        let elements = Elements::new(&evaluator);
        let element = |b, h, q, k| elements.visible(b, h, q, k);
        let exact = lists.with_bits(&element).unwrap();
        assert_eq!(exact.to_dense_blocks(), brute(exact.grid(), &element), "{text}");
        for head in 0..3 {
            let one = exact.list(0, head).unwrap();
            check_form(&one);
            assert_eq!((one.batch(), one.heads()), (1, 1));
            for (q, k) in (0..90).flat_map(|q| (0..90).map(move |k| (q, k))) {
                let bit = one.is_visible(0, 0, q, k, |_, _, _, _| panic!("bits decide alone"));
                assert_eq!(bit, elements.visible(0, head, q, k), "{text} head {head} q {q} k {k}");
            }
        }
        assert!(exact.list(0, 3).unwrap_err().to_string().contains("head: expected 0 to 2, got 3"));
        elements.finish().unwrap();
    }
}

#[test]
fn what_cannot_be_evaluated_is_reported_at_the_end() {
    let sizes = sizes(20, 20);
    let table = HostTensor::new(vec![10], TensorData::I32(vec![1; 10])).unwrap();
    let program =
        Expr::parse_mask("t[k] == 1").unwrap().bind(&[Table::new("t", Dtype::I32, vec![10])]).unwrap();
    let evaluator = Evaluator::new(&program, sizes, &[("t", &table)]).unwrap();
    let elements = Elements::new(&evaluator);
    assert!(elements.visible(0, 0, 0, 9) && !elements.visible(0, 0, 0, 10) && elements.visible(0, 0, 0, 9));
    let error = elements.finish().unwrap_err().to_string();
    assert!(error.contains("t") && error.contains("10"), "{error}");
}
