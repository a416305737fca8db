// Package launch prepares what a job runs: from what the user names to an image
// by digest, and the command in it.
//
//	Options ─ NewPlan ─▶ Plan ─ Build ─▶ Launch ─▶ gke.Job
//	          (pure: reads files,       (asks registries, builds,
//	           finds all mistakes)       pushes)
//
// An image has three parts, from below:
//
//   - the base: built here from what the program needs (bundled), a published
//     one (prebuilt), or the user's own (custom, Dockerfiles, image specs);
//   - the bootstrap at /ibuild/bootstrap, one layer that is the same bytes in
//     all images of an architecture;
//   - the code at /ibuild/code, with what the pod installs when it starts
//     (prebuilt). It is content-addressed, made in this process and pushed
//     straight to the registry: no builder hears of it.
//
// The two upper parts touch nothing outside of /ibuild, which is ibuild's own
// folder in every image. So nothing has to be known of the base's files, and an
// image of ten gigabytes is not downloaded for it.
//
// What lives here: modes, what a source is, where its dependencies are written
// down, what of them an accelerator replaces, the base images, and fetching
// results. What does not: flags, Kubernetes (package gke), the program inside
// the pod (package bootstrap), builders and registries themselves.
package launch
