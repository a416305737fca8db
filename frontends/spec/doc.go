// Package spec is the image spec: the immutable value [Image], made in Go ([DebianBase], [From], … and the
// With… methods), read from YAML ([Parse]), or made of a script ([ParseScript]); its validation, and its
// lowering to an llb.Plan. docs/spec.md describes all of it for users.
//
// # The order of an image
//
// A YAML file has flat fields, most of them with the names of flytekit's ImageSpec, and an ordered list of
// layers; both may be used in one file. The order of the keys in the file means nothing, that of the
// layers does. The image is made in this order:
//
//  1. the start: base_image, dockerfile, uv_script, pixi_script, from_env or tensorflow_cloud; nothing is the
//     Debian base with python_version. Then ca_certificates, right above the base, python_exec and
//     platform_packages
//  2. workdir
//  3. env
//  4. apt_packages
//  5. conda_packages, with conda_channels
//  6. requirements and packages, in one step, so that they are resolved together (with pip_index,
//     pip_extra_index_url, pip_extra_args, pip_secret_mounts)
//  7. commands
//  8. layers, each in its place; layerKinds lists their kinds
//  9. copy: each path to the same path below the workdir
//  10. source_root and source_copy_mode: a code bundle
//  11. user: the user of the image; the steps before run as the base's user (root on the Debian base)
//  12. what the start brings last: a script, or tensorflow_cloud's code
//  13. runtime_packages, accelerator, entrypoint, cmd, labels
//
// What a start installs by itself (a script's dependencies, from_env, tensorflow_cloud's requirements), and
// CUDA's libraries that go with no layer, come after the leading apt, env and workdir layers.
//
// On the Debian base the image's user is "app" (uid 1000) unless the file names one, in user or in a
// layer. An existing image keeps its user and workdir. A spec on top of another one is lowered into the same
// graph, each with its own folder.
//
// entrypoint and cmd are lists; a string is run by /bin/sh -c, as in a Dockerfile; an empty list clears
// the base's; absent keeps it. An entry point of one's own clears the base's cmd, as in a Dockerfile.
// Nothing is expanded anywhere: a $ in an environment variable or a path is a dollar sign.
//
// # Scripts
//
// [tool.ibuild] in a script's header has the fields of a spec, but for those that say where an image starts;
// base_image is the exception. It counts wherever the script is named. In a spec with uv_script or pixi_script,
// its part comes first each time: base, leading layers, (the dependencies), other layers, what belongs to the
// whole; so the spec has the last word. The header's paths, and its .dockerignore, are those of the script's folder.
// Layers and lists that a spec in the same folder repeats word by word count once, so that what [Image.YAML] writes
// of a script means the same beside it.
//
// # Secrets
//
// secrets lists what steps may mount: an id, or {id, env or file or index with username, optional, from, version,
// for}. The id is a key, or group/key for those under /etc/secrets. Without env, file or index, the secret is
// the environment variable of the key's name while the step runs. A layer, platform_packages and a start that
// installs name the ids that they need in their own secrets; the flat fields get those that name them in for. Both are
// a [Secret], but version and from belong to the declaration. Where a value comes from is for the caller to say;
// from, a file of the spec's folder, counts last.
//
// # Source files
//
// Paths are relative to the spec's folder and never leave it, links included; only base_image may name a spec
// elsewhere. A source_folder becomes dst, or <workdir>/<its name> without one ("." and contents: true put the
// contents into the workdir). A source_file becomes dst, or keeps its name where dst ends in a slash or is
// absent. Ignore patterns are those of .dockerignore beside the spec, then the layer's exclude, then the
// standard ones (see [StandardIgnores]), which nothing but standard_ignores: false takes away.
//
// # What does not live here
//
// Steps and their lowering to LLB (package llb), Python's standards (package python), projects and locks
// (package project), imports of a program (package imports), tables of CUDA and TensorFlow (packages cuda and
// tensorflow), script headers (package uvscript), what looks like a credential (package credential), reading
// files and the form of errors (package source). Nothing here talks to a network; [FromEnvironment] and
// [TensorFlow] ask the local Python what it has installed.
//
// # Adding a layer
//
// A file of its own with a struct of values that embeds placed, and its methods: kind, clone, lower and yaml
// (encode does it) for [Layer]; short and fields, from which it is read, written and put into the schema.
// lower checks everything and adds the steps. Then a line in layerKinds, a With… method, a layer with every field
// set in the identity test, and a folder below testdata with an image.yaml: its plan and its LLB become golden
// files by "make golden", which writes docs/image.schema.json, too.
//
// A start is the same with the interface start and a line in startFields.
package spec
