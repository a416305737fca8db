package engine

import (
	"io/fs"

	"github.com/ibuild/ibuild/llb"
)

// codeFiles are the local files of every case.
func codeFiles() map[string]string {
	return map[string]string{
		"src/main.py": "print(1)\n", "src/run": "x:#!/bin/sh\n", "src/deep/er/a": "a", "src/empty/": "", "src/l": "->main.py",
		"src/tmp/t": "t", "src/x.pyc": "junk", "one": "1", "abs": "->/etc/passwd",
	}
}

func folderTo(dst string) llb.Copy {
	return llb.Copy{Local: "context", Src: "src", Dst: dst, Dir: true}
}
func fileTo(dst string) llb.Copy { return llb.Copy{Local: "context", Src: "one", Dst: dst} }

func owned(c llb.Copy, who string) llb.Copy { c.Owner = who; return c }

func differentialCases() []differentialCase {
	var out []differentialCase
	for _, group := range [][]differentialCase{destinations(), linkedPaths(), modesAndOwners(), namedUsers(), kindsOfSources(), otherSteps()} {
		out = append(out, group...)
	}
	return out
}

func destinations() []differentialCase {
	return []differentialCase{
		{name: "new folders", steps: []llb.Step{folderTo("/app/code")}},
		{name: "deep new folders", steps: []llb.Step{folderTo("/a/b/c/d/e/f/g/h")}},
		{name: "an existing destination", env: map[string]string{"app/old": "o"}, steps: []llb.Step{folderTo("/app")}},
		{name: "an existing folder below the destination", env: map[string]string{"app/deep/old": "o"}, steps: []llb.Step{folderTo("/app")}},
		{name: "an existing file", env: map[string]string{"app/main.py": "x:old"}, steps: []llb.Step{folderTo("/app")}},
		{name: "the root", steps: []llb.Step{folderTo("/")}},
		{name: "the whole folder", steps: []llb.Step{llb.Copy{Local: "context", Src: ".", Dst: "/app", Dir: true}}},
		{name: "dots on the way", env: map[string]string{"b/": ""}, steps: []llb.Step{fileTo("/a/../b/./c")}},
		{name: "one file in a new folder", steps: []llb.Step{fileTo("/a/b/c")}},
		{name: "one file over another", env: map[string]string{"etc/one": "x:old"}, steps: []llb.Step{fileTo("/etc/one")}},
		{name: "one file to a folder", env: map[string]string{"data/old": ""}, steps: []llb.Step{fileTo("/data")}},
		{name: "one file to a folder that has it", env: map[string]string{"data/one": "x:old"}, steps: []llb.Step{fileTo("/data")}},
		{name: "one file to a folder that has a link of its name", env: map[string]string{"data/one": "->/etc/keep", "etc/keep": "k"}, steps: []llb.Step{fileTo("/data")}},
		{name: "one file to the root", steps: []llb.Step{fileTo("/")}},
		{name: "one link to a folder", env: map[string]string{"data/": ""}, steps: []llb.Step{llb.Copy{Local: "context", Src: "abs", Dst: "/data"}}},
		{name: "a file to a folder that code made", steps: []llb.Step{folderTo("/app"), fileTo("/app/deep")}},
		{name: "one file where a folder has that name", env: map[string]string{"data/one/": ""}, steps: []llb.Step{fileTo("/data")},
			builder: "/data/one is in the environment image and not a file", refused: true},
		{name: "a file over a folder", env: map[string]string{"app/main.py/": ""}, steps: []llb.Step{folderTo("/app")},
			builder: "/app/main.py is in the environment image and not a file", refused: true},
		{name: "a folder over a file", env: map[string]string{"app/deep": "f"}, steps: []llb.Step{folderTo("/app")},
			builder: "/app/deep is in the environment image and not a folder", refused: true},
		{name: "a destination that is a file", env: map[string]string{"app": "f"}, steps: []llb.Step{folderTo("/app")},
			builder: "/app is in the environment image and not a folder", refused: true},
		{name: "a parent that is a file", env: map[string]string{"app": "f"}, steps: []llb.Step{fileTo("/app/x/y")},
			builder: "/app is in the environment image and not a folder", refused: true},
	}
}

func linkedPaths() []differentialCase {
	merged := map[string]string{"usr/lib/x": "", "usr/bin/sh": "x:", "lib": "->usr/lib", "bin": "->usr/bin"}
	return []differentialCase{
		{name: "usrmerge: a folder below /lib", env: merged, steps: []llb.Step{folderTo("/lib/app")}},
		{name: "usrmerge: into /lib itself", env: merged, steps: []llb.Step{folderTo("/lib")}},
		{name: "usrmerge: a program in /bin", env: merged, steps: []llb.Step{fileTo("/bin/one")}},
		{name: "usrmerge: a written file", env: merged, steps: []llb.Step{llb.WriteFile{Dst: "/lib/systemd/app.conf", Data: []byte("1")}}},
		{name: "usrmerge: a workdir", env: merged, steps: []llb.Step{llb.Workdir{Path: "/lib/app/work"}, fileTo("x")}},
		{name: "an absolute link", env: map[string]string{"data/old": "", "srv/app": "->/data"}, steps: []llb.Step{folderTo("/srv/app/code")}},
		{name: "a link of a link", env: map[string]string{"a": "->b", "b": "->/c/d", "c/d/": ""}, steps: []llb.Step{folderTo("/a/x")}},
		{name: "a link up", env: map[string]string{"run/": "", "var/run": "->../run"}, steps: []llb.Step{fileTo("/var/run/app/one")}},
		{name: "a link beyond the root", env: map[string]string{"etc/": "", "up": "->../../../etc"}, steps: []llb.Step{fileTo("/up/one")}},
		{name: "a link to nothing", env: map[string]string{"app": "->srv/new"}, steps: []llb.Step{folderTo("/app")}},
		{name: "a file behind a link to nothing", env: map[string]string{"one": "->srv/new/one"}, steps: []llb.Step{fileTo("/one")}},
		{name: "a linked file", env: map[string]string{"etc/one": "->/data/real", "data/real": "x:old"}, steps: []llb.Step{fileTo("/etc/one")}},
		{name: "a linked file that is written", env: map[string]string{"etc/one": "->../data/real", "data/real": "x:old"}, steps: []llb.Step{llb.WriteFile{Dst: "/etc/one", Data: []byte("new")}}},
		{name: "a file to a linked folder", env: map[string]string{"app": "->data", "data/": ""}, steps: []llb.Step{fileTo("/app")}},
		{name: "a link that a file replaces", env: map[string]string{"app/main.py": "->/etc/keep", "etc/keep": "k"}, steps: []llb.Step{folderTo("/app")}},
		{name: "a file that a link replaces", env: map[string]string{"app/l": "file"}, steps: []llb.Step{folderTo("/app")}},
		{name: "a link that a link replaces", env: map[string]string{"app/l": "->/"}, steps: []llb.Step{folderTo("/app")}},
		{name: "behind a link of the code", steps: []llb.Step{folderTo("/app"), fileTo("/app/l")}},
		{name: "below a linked folder of the code", local: map[string]string{"src/way": "->deep/er"}, steps: []llb.Step{folderTo("/app"), fileTo("/app/way/one")}},
		{name: "a linked folder below the destination", env: map[string]string{"app/other/": "", "app/deep": "->other"}, steps: []llb.Step{folderTo("/app")},
			builder: "/app/deep is in the environment image and not a folder", refused: true},
		{name: "links in a circle", env: map[string]string{"a": "->b", "b": "->a"}, steps: []llb.Step{fileTo("/a/x")}, builder: "behind too many folders or links", refused: true},
		{name: "several links with a way up", env: map[string]string{"a": "->b", "b": "->../c", "c/": ""}, steps: []llb.Step{fileTo("/a/x")}, builder: "behind too many folders or links"},
		{name: "a written file behind a link to nothing", env: map[string]string{"x": "->/none/x"}, steps: []llb.Step{llb.WriteFile{Dst: "/x"}}, builder: "there is no such folder", refused: true},
		{name: "a file as the folder of a link", env: map[string]string{"x": "->/etc/passwd/y", "etc/passwd": ""}, steps: []llb.Step{fileTo("/x/z")},
			builder: "/etc/passwd is in the environment image and not a folder", refused: true},
	}
}

func modesAndOwners() []differentialCase {
	const team = "1000:1001"
	return []differentialCase{
		{name: "an existing destination keeps its mode", env: map[string]string{"app/old": "o"}, modes: map[string]fs.FileMode{"app": 0o750 | fs.ModeSticky}, steps: []llb.Step{folderTo("/app")}},
		{name: "an existing folder below the destination with a mode of its own", env: map[string]string{"app/deep/old": "o"},
			modes: map[string]fs.FileMode{"app/deep": 0o700}, steps: []llb.Step{folderTo("/app")}, builder: "/app/deep of the environment image has a mode or owner of its own"},
		{name: "an existing folder below the destination with the setgid bit", env: map[string]string{"app/deep/old": "o"},
			modes: map[string]fs.FileMode{"app/deep": 0o755 | fs.ModeSetgid}, steps: []llb.Step{folderTo("/app")}, builder: "/app/deep of the environment image has a mode or owner of its own"},
		{name: "the root, where /tmp is sticky", env: map[string]string{"tmp/": ""}, modes: map[string]fs.FileMode{"tmp": 0o777 | fs.ModeSticky},
			steps: []llb.Step{folderTo("/")}, builder: "/tmp of the environment image has a mode or owner of its own"},
		{name: "into /tmp itself", env: map[string]string{"tmp/": ""}, modes: map[string]fs.FileMode{"tmp": 0o777 | fs.ModeSticky}, steps: []llb.Step{folderTo("/tmp"), folderTo("/tmp/new")}},
		{name: "both are sticky", env: map[string]string{"app/empty/x": ""}, modes: map[string]fs.FileMode{"app/empty": 0o755 | fs.ModeSticky},
			sources: map[string]fs.FileMode{"src/empty": 0o777 | fs.ModeSticky}, steps: []llb.Step{folderTo("/app")}},
		{name: "modes of a checkout", sources: map[string]fs.FileMode{"src/main.py": 0o600, "src/run": 0o711, "src/deep": 0o700, "src/empty": 0o777},
			steps: []llb.Step{folderTo("/app")}},
		{name: "special bits of files", sources: map[string]fs.FileMode{"src/run": 0o755 | fs.ModeSetuid, "src/main.py": 0o644 | fs.ModeSetgid}, steps: []llb.Step{folderTo("/app")}},
		{name: "special bits of folders", sources: map[string]fs.FileMode{"src/deep": 0o755 | fs.ModeSetgid, "src/empty": 0o777 | fs.ModeSticky}, steps: []llb.Step{folderTo("/app")}},
		{name: "executable for others only", sources: map[string]fs.FileMode{"one": 0o645}, steps: []llb.Step{fileTo("/one")}},
		{name: "an owner", root: true, steps: []llb.Step{owned(folderTo("/app"), team)}},
		{name: "an owner, in new parents", root: true, steps: []llb.Step{owned(folderTo("/srv/team/app"), team)}},
		{name: "an owner of a file in new parents", root: true, steps: []llb.Step{owned(fileTo("/srv/team/one"), team)}},
		{name: "an owner of a link", root: true, steps: []llb.Step{owned(llb.Copy{Local: "context", Src: "abs", Dst: "/etc/abs"}, team)}},
		{name: "an owner behind a link", root: true, env: map[string]string{"lib": "->usr/lib", "usr/lib/": ""}, steps: []llb.Step{owned(folderTo("/lib/app"), team)}},
		{name: "an owner in an existing folder", root: true, env: map[string]string{"app/deep/old": "o"}, steps: []llb.Step{owned(folderTo("/app"), team)},
			builder: "/app/deep of the environment image has a mode or owner of its own"},
		{name: "an owner in a folder that is theirs", env: map[string]string{"app/deep/old": "o"}, owners: map[string][2]int{"app/deep": {1000, 1001}, "app/deep/old": {7, 7}},
			steps: []llb.Step{owned(folderTo("/app"), team)}},
		{name: "an owner of folders that code made before", root: true, steps: []llb.Step{folderTo("/app"), owned(folderTo("/app"), team)}},
		{name: "and back to root", root: true, steps: []llb.Step{owned(folderTo("/app"), team), folderTo("/app")}},
		{name: "a folder of somebody's", env: map[string]string{"home/app/": ""}, owners: map[string][2]int{"home/app": {1000, 1000}},
			modes: map[string]fs.FileMode{"home/app": 0o700}, steps: []llb.Step{folderTo("/home/app/code"), fileTo("/home/app/one")}},
		{name: "a folder with the setgid bit gives its group", env: map[string]string{"srv/": ""}, owners: map[string][2]int{"srv": {0, 50}}, modes: map[string]fs.FileMode{"srv": 0o2775&0o777 | fs.ModeSetgid},
			steps: []llb.Step{folderTo("/srv/app/code"), fileTo("/srv/x/one"), llb.WriteFile{Dst: "/srv/w"}, llb.WriteFile{Dst: "/srv/d/w"}, llb.Workdir{Path: "/srv/work/er"}}},
		{name: "an owner in a folder with the setgid bit", env: map[string]string{"srv/": ""}, owners: map[string][2]int{"srv": {0, 50}}, modes: map[string]fs.FileMode{"srv": 0o775 | fs.ModeSetgid},
			steps: []llb.Step{owned(folderTo("/srv/app/code"), team)}},
	}
}

func namedUsers() []differentialCase {
	users := map[string]string{"etc/passwd": "root:x:0:0::/root:\napp:x:1000:1001::/home/app:\n", "etc/group": "staff:x:50:app\napp:x:1002:\n"}
	linked := map[string]string{"etc/passwd": "->../data/users", "data/users": "app:x:7:8::/:\n"}
	return []differentialCase{
		{name: "a user and a group by name", root: true, env: users, steps: []llb.Step{owned(folderTo("/app"), "app:app")}},
		{name: "a user alone", root: true, env: users, steps: []llb.Step{owned(folderTo("/app"), "app")}},
		{name: "a number alone", root: true, env: users, steps: []llb.Step{owned(fileTo("/one"), "1234")}},
		{name: "a user and another group", root: true, env: users, steps: []llb.Step{owned(fileTo("/a/one"), "app:staff")}},
		{name: "a number and a group by name", root: true, env: users, steps: []llb.Step{owned(fileTo("/a/one"), "5:staff")}},
		{name: "a user and a number", root: true, env: users, steps: []llb.Step{owned(fileTo("/a/one"), "app:5")}},
		{name: "root by name", root: true, env: users, steps: []llb.Step{owned(fileTo("/a/one"), "root:root")}},
		{name: "a user that the image does not know", root: true, env: users, steps: []llb.Step{owned(fileTo("/a/one"), "nobody:staff")}},
		{name: "a group that the image does not know", root: true, env: users, steps: []llb.Step{owned(fileTo("/a/one"), "app:nogroup")}},
		{name: "an image without users", root: true, steps: []llb.Step{owned(fileTo("/a/one"), "app:app")}},
		{name: "linked users", root: true, env: linked, steps: []llb.Step{owned(fileTo("/a/one"), "app")}},
		{name: "users that the code brings", root: true, env: users, steps: []llb.Step{llb.WriteFile{Dst: "/etc/passwd", Data: []byte("app:x:9:9::/:\n")}, owned(fileTo("/one"), "app")},
			builder: "which the code brings"},
	}
}

func kindsOfSources() []differentialCase {
	return []differentialCase{
		{name: "an extended attribute", attr: "src/main.py", steps: []llb.Step{folderTo("/app")}, builder: "has the extended attribute user.ibuild"},
		{name: "excluded files", steps: []llb.Step{llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true, Exclude: []string{"**/*.pyc", "deep/er"}}}},
		{name: "everything excluded but a file far down", steps: []llb.Step{llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true, Exclude: []string{"**", "!deep/er/a"}}}},
		{name: "only some files", steps: []llb.Step{llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true, Only: []string{"main.py", "deep/er/a"}}}},
		{name: "one link", steps: []llb.Step{llb.Copy{Local: "context", Src: "abs", Dst: "/etc/abs"}}},
		{name: "links of all kinds", local: map[string]string{"src/up": "->../one", "src/dir": "->deep", "src/none": "->no/such", "src/out": "->../../../etc/passwd", "src/self": "->self"},
			steps: []llb.Step{folderTo("/app")}},
		{name: "dotfiles", local: map[string]string{"src/.env": "A=1", "src/.config/x": "", "src/..odd": "", "src/...": ""}, steps: []llb.Step{folderTo("/app")}},
		{name: "unicode names", local: map[string]string{"src/ü/日本語.txt": "1", "src/e\u0301": "decomposed", "src/é": "composed", "src/\u202e": "", "src/ space ": ""}, steps: []llb.Step{folderTo("/app")}},
		{name: "empty folders", local: map[string]string{"src/e/m/p/t/y/": "", "src/e/m/q/": ""}, steps: []llb.Step{folderTo("/app")}},
		{name: "nothing but empty folders", local: map[string]string{"void/a/b/": ""}, steps: []llb.Step{llb.Copy{Local: "context", Src: "void", Dst: "/app", Dir: true}}},
		{name: "an empty file", local: map[string]string{"src/none": ""}, steps: []llb.Step{folderTo("/app")}},
		{name: "a name that sorts before its folder", local: map[string]string{"src/deep-er": "1", "src/deep.txt": "2", "src/deep!": "3"}, steps: []llb.Step{folderTo("/app")}},
	}
}

func otherSteps() []differentialCase {
	return []differentialCase{
		{name: "workdirs", env: map[string]string{"srv/": ""}, steps: []llb.Step{llb.Workdir{Path: "/srv"}, llb.Workdir{Path: "a/b"}, fileTo("x")}},
		{name: "a workdir that is there with its mode", env: map[string]string{"srv/": ""}, modes: map[string]fs.FileMode{"srv": 0o700}, steps: []llb.Step{llb.Workdir{Path: "/srv"}}},
		{name: "the workdir that it is already", steps: []llb.Step{llb.Workdir{Path: "/srv", Exists: true}, llb.Workdir{Path: "/srv"}}},
		{name: "a workdir that is a file", env: map[string]string{"srv": "f"}, steps: []llb.Step{llb.Workdir{Path: "/srv"}}, builder: "/srv is in the environment image and not a folder", refused: true},
		{name: "written files", env: map[string]string{"etc/a": "x:old"}, steps: []llb.Step{
			llb.WriteFile{Dst: "/etc/a", Data: []byte("new")}, llb.WriteFile{Dst: "/etc/b/c", Data: []byte("2"), Mode: 0o750}, llb.WriteFile{Dst: "/etc/s", Mode: 0o4755}}},
		{name: "a written file over a folder", env: map[string]string{"etc/": ""}, steps: []llb.Step{llb.WriteFile{Dst: "/etc"}}, builder: "/etc is in the environment image and not a file", refused: true},
		{name: "steps on each other", steps: []llb.Step{folderTo("/app"), fileTo("/app/main.py"), llb.WriteFile{Dst: "/app/run", Data: []byte("r")}, folderTo("/app/deep")}},
	}
}
