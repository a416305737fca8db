// Package export is how the in-process BuildKit hands an image over to the process that asked for it, layer by layer,
// while the layers are still being compressed.
//
// BuildKit's own way is to write all layers, and then to push them with credentials that it asks its client for. Here
// its client pushes, with its own credentials and its own way to registries, and begins as soon as a layer has bytes: a
// layer is written once, to the engine's content store, and read from that file while it grows.
//
// What lives here: both ends of the conversation, and the files that grow. It goes through the build's session, as all
// that BuildKit asks its clients for, so it is the same whether BuildKit is in this process or in its child, whose
// files this process can read. What does not live here: making layers (engine/embed), and registries.
//
//	BuildKit's side (engine/embed)                    the client's side (engine)
//	Sender.Made     ── content, sources ───────────▶ Receiver.Made: layers that there are, of base images above all
//	Sender.Layer    ── path, sizes, descriptor ─────▶ Receiver.Layer: reads the file while it grows
//	Sender.Image    ── root, content, sources ──────▶ Receiver.Image: what is missing, and the manifests
package export
