// Package spec is the image spec: the immutable value [Image], made in Go ([DebianBase], [From] and the
// With… methods) or read from YAML ([Parse]), its validation, and its lowering to an llb.Plan.
//
// # The YAML file
//
// A file has flat fields, most of them with the names of flytekit's ImageSpec, and an ordered list of
// layers; both may be used in one file. The order of the keys in the file means nothing, that of the
// layers does. The image is made in this order:
//
//  1. base_image ("debian" or absent: the Debian Python base; else any reference) and python_version
//  2. workdir
//  3. env
//  4. apt_packages
//  5. requirements and packages, in one step, so that they are resolved together (with pip_index,
//     pip_extra_index_url, pip_extra_args)
//  6. commands
//  7. layers, each in its place: apt, pip, requirements, commands (or run), env, workdir, user,
//     source_folder, source_file
//  8. copy: each path to the same path below the workdir
//  9. user: the user of the image; the steps before run as the base's user (root on the Debian base)
//  10. entrypoint, cmd, labels
//
// On the Debian base the image's user is "app" (uid 1000) unless the file names one, in user or in a
// layer. An existing image keeps its user and workdir.
//
// entrypoint and cmd are lists; a string is run by /bin/sh -c, as in a Dockerfile; an empty list clears
// the base's; absent keeps it. An entry point of one's own clears the base's cmd, as in a Dockerfile.
// Nothing is expanded anywhere: a $ in an environment variable or a path is a dollar sign.
//
// The other fields are name, registry, tag (the image name that a push uses), platforms (or platform,
// comma-separated), secrets, standard_ignores and allow_plain_credentials. Fields that a later version
// will have (cuda, conda_packages, uv_project, …) are an error that says so, and so is every unknown key.
//
// # Secrets
//
// secrets lists what steps may mount: an id, or {id, env or file, optional, for}. The id is a key, or
// group/key for those under /etc/secrets. Without env or file, the secret is the environment variable of
// the key's name while the step runs. A layer names the ids that it needs in its own secrets; the flat
// fields get those that name them in for. Where a secret's value comes from is said on the command line.
//
// # Source files
//
// Paths are relative to the spec's folder and never leave it, links included. A source_folder becomes
// dst, or <workdir>/<its name> without one ("." and contents: true put the contents into the workdir).
// A source_file becomes dst, or keeps its name where dst ends in a slash or is absent. Ignore patterns
// are those of .dockerignore beside the spec, then the layer's exclude, then the standard ones (see
// [StandardIgnores]), which nothing but standard_ignores: false takes away.
//
// # What does not live here
//
// Steps and their lowering to LLB (package llb), Python's standards (package python), what looks like a
// credential (package credential), reading files and the form of errors (package source). Nothing here
// talks to a network.
//
// # Adding a layer
//
// One file per kind of layer: its struct with clone and lower, and its YAML. Then a line in
// (*reader).layerKinds, a With… method, and a golden file.
package spec
