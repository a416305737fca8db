// Package results carries the files that a job leaves from its pod to people,
// through the registry that its image came from.
//
// What lives here: the format, and both ways: [Push] in the pod, [Fetch] on
// anybody's machine. What does not: who may push where, and which job has which
// results.
//
// # The format
//
// An OCI image manifest with the artifact type [ArtifactType], the empty config
// and layers of media type application/vnd.oci.image.layer.v1.tar+zstd. Each
// layer is a tar archive of its own with whole entries; no path is in two of
// them. Folders, links and files of up to 4 MiB are packed together, 32 MiB to a
// layer; a larger file has a layer for itself. So a checkpoint of many gigabytes
// goes up without a copy on any disk, several files at a time, and what is in
// the registry already (an attempt before, a push that was cut) is not sent again.
//
//	files below 4 MiB ─ packed in memory ─────────────────▶ layer ┐
//	large file ─ tar+zstd, only measured ─▶ digest, size          ├▶ manifest ─▶ tag PREFIX-s-i
//	           └ tar+zstd once more, the same bytes ──────▶ layer ┘
//
// A large file is read twice, as a registry wants to know a digest before it
// says that it has the blob, and an upload that was cut has to go on somewhere:
// the same bytes come out each time, from any offset on. The memory does not
// depend on what is sent.
//
// # What is kept
//
// Regular files, folders and symbolic links, with permissions and the time of
// the last change, of any name. Links are kept when they are relative and lead
// upwards at their beginning only, to something in the folder: then no chain of
// them leads out. Hard links become files.
// Sockets, devices and pipes are left out, as are files that cannot be read or
// that go on changing, and what is over a limit: 200,000 entries, 10,000 layers.
// All that was left out is in the manifest's annotations, and [Fetch] says it.
//
// Nothing is followed out of the folder, on neither side: all is done through
// [os.Root].
package results
