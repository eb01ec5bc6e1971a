//! The pool: buffers come back, and never while someone reads them.

use outflow_core::*;

fn fill(builder: &mut BatchBuilder, rows: usize, text: &str) -> ChangeBatch {
    let table = TableSchema::builder("t").column(Column::new("c", LogicalType::Text)).build();
    let schema = builder.schema(&table);
    for _ in 0..rows {
        let mut event = builder.event(Op::Insert).schema(schema);
        let mut row = event.after();
        row.text(text);
        row.end().unwrap();
        event.end();
    }
    builder.finish("p".into(), None)
}

fn text(batch: &ChangeBatch) -> &str {
    batch.get(0).unwrap().after().unwrap().get(0).unwrap().as_str().unwrap()
}

#[test]
fn the_buffers_of_a_finished_batch_serve_the_next() {
    let pool = BatchPool::new();
    let mut builder = BatchBuilder::with_pool(pool.clone());
    let batch = fill(&mut builder, 100, "text");
    let address = text(&batch).as_ptr();
    assert_eq!(pool.charge(), 0);
    drop(batch);
    assert!(pool.charge() > 0);
    // `finish` takes the buffers for the batch after it.
    drop(builder.finish("p".into(), None));
    let batch = fill(&mut builder, 100, "more");
    assert_eq!(text(&batch).as_ptr(), address);
    assert_eq!(text(&batch), "more");
}

#[test]
fn a_clone_keeps_the_buffers() {
    let pool = BatchPool::new();
    let mut builder = BatchBuilder::with_pool(pool.clone());
    let batch = fill(&mut builder, 10, "first");
    let clone = batch.clone();
    drop(batch);
    assert_eq!(pool.charge(), 0);
    for _ in 0..3 {
        drop(fill(&mut builder, 10, "later"));
    }
    assert_eq!(text(&clone), "first");
    let before = pool.charge();
    drop(clone);
    assert!(pool.charge() > before);
}

#[test]
fn huge_buffers_are_let_go_and_the_pool_has_a_bound() {
    let pool = BatchPool::new();
    let mut builder = BatchBuilder::with_pool(pool.clone());
    drop(fill(&mut builder, 1, &"x".repeat(5 << 20)));
    assert_eq!(pool.charge(), 0);
    let batches: Vec<_> = (0..20).map(|_| fill(&mut builder, 1, &"x".repeat(3 << 20))).collect();
    drop(batches);
    assert!((3 << 20..=8 << 20).contains(&pool.charge()), "{}", pool.charge());
    let batches: Vec<_> = (0..20).map(|_| fill(&mut builder, 1, "small")).collect();
    drop(batches);
    assert!(pool.charge() <= 8 << 20, "{}", pool.charge());
}

#[test]
fn a_compacted_batch_gives_its_old_buffers_back_at_once() {
    let pool = BatchPool::new();
    let mut builder = BatchBuilder::with_pool(pool.clone());
    let mut batch = fill(&mut builder, 100, "text");
    BatchEdit::new(&mut batch).retain(|e| e.index() == 7);
    batch.compact();
    let charge = pool.charge();
    assert!(charge > 100 * 16, "the event list comes back too: {charge}");
    drop(batch);
    assert_eq!(pool.charge(), charge, "what is left has an odd size");
}

#[test]
fn batches_can_finish_on_any_thread() {
    let pool = BatchPool::new();
    let mut builder = BatchBuilder::with_pool(pool.clone());
    let (send, receive) = std::sync::mpsc::sync_channel::<ChangeBatch>(2);
    let reader = std::thread::spawn(move || {
        let mut sum = 0;
        while let Ok(batch) = receive.recv() {
            sum += batch
                .iter()
                .map(|e| e.after().unwrap().get(0).unwrap().as_str().unwrap().len())
                .sum::<usize>();
        }
        sum
    });
    for i in 0..100 {
        send.send(fill(&mut builder, 10, &"x".repeat(i))).unwrap();
    }
    drop(send);
    assert_eq!(reader.join().unwrap(), (0..100).sum::<usize>() * 10);
    assert!(pool.charge() > 0);
}
