//! The codec as the fuzz targets see it: bytes in, laws checked, nothing out.

#[path = "../../src/wechat/mod.rs"]
pub mod wechat;

use wechat::envelope;
use wechat::inbound::Inbound;
use wechat::tree::{self, Format, MAX_DEPTH, MAX_NODES, Node};

/// Reads a body all the way, and checks what holds for every body.
pub fn read_body(body: &[u8], format: Format) {
    let Ok((root, read_as)) = tree::parse(body) else { return };
    assert_eq!(read_as, format);
    let mut nodes = 0;
    measure(&root, 0, &mut nodes);
    let _ = envelope::parse(body);
    let inbound = Inbound::from_node(root, format);
    let label = inbound.label();
    assert!(!label.is_empty() && label.len() <= 64);
    let key = inbound.dedupe_key(body);
    assert!(key.is_ascii() && key.len() <= 100);
    assert!(inbound.delivery_reports().iter().all(|report| !report.msgid.is_empty()));
}

fn measure(node: &Node, depth: usize, nodes: &mut usize) {
    *nodes += 1;
    assert!(depth <= MAX_DEPTH && *nodes <= MAX_NODES);
    for (_, child) in &node.children {
        measure(child, depth + 1, nodes);
    }
}
