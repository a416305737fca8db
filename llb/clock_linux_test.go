package llb

import (
	"os"
	"testing"
)

func TestTraitsOfMagic(t *testing.T) {
	for name, c := range map[string]struct {
		magic uint32
		want  traits
	}{
		"ext4":      {0xef53, traits{true, true}},
		"xfs":       {0x58465342, traits{true, true}},
		"btrfs":     {0x9123683e, traits{true, true}},
		"f2fs":      {0xf2f52010, traits{true, true}},
		"tmpfs":     {0x01021994, traits{true, false}},
		"overlayfs": {0x794c7630, traits{true, false}},
		"zfs":       {0x2fc12fc1, traits{true, false}},
		"nfs":       {0x6969, traits{}},
		"9p":        {0x01021997, traits{}},
		"fuse":      {0x65735546, traits{}}, // sshfs, virtiofs, Docker Desktop's shares
		"smb":       {0x517b, traits{}},
		"cifs":      {0xff534d42, traits{}},
		"smb2":      {0xfe534d42, traits{}},
		"ceph":      {0x00c36400, traits{}},
		"afs":       {0x5346414f, traits{}},
		"vboxsf":    {0x786f4256, traits{}},
		"gfs2":      {0x01161970, traits{}},
		"ocfs2":     {0x7461636f, traits{}},
		"lustre":    {0x0bd00bd0, traits{}},
		"nothing":   {0, traits{}},
	} {
		if got := traitsOfMagic(c.magic, "6.1.0-44-amd64"); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := traitsOf(f); got != (traits{}) {
		t.Errorf("/proc has %+v", got)
	}
}

// A tmpfs is what its kernel makes of it.
func TestTraitsOfTmpfs(t *testing.T) {
	for release, want := range map[string]bool{
		"6.2": true, "6.2.0": true, "6.18.44-generic": true, "7.0-rc1": true, "10.1": true,
		"6.1.99": false, "5.15.0": false, "6": false, "": false, "six.two": false, "-6.2": false,
	} {
		if got := traitsOfMagic(0x01021994, release); got != (traits{true, want}) {
			t.Errorf("Linux %q: %+v", release, got)
		}
	}
}
