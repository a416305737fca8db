package settings

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/llb"
)

const (
	bookworm = "ID=debian\nVERSION_CODENAME=bookworm\n"
	jammy    = "ID=ubuntu\nVERSION_CODENAME=\"jammy\"\n"
)

func TestApt(t *testing.T) {
	sources := "/etc/apt/sources.list.d/x.sources"
	other := "URIs: https://mirror.corp/debian\n"
	ca := testCert(t, "a", later)
	for _, tc := range []struct {
		name       string
		cfg        *Config
		host       fakeHost
		conf, list string
		notes      []string
		err        string
	}{
		{name: "no apt", host: fakeHost{files: files{"/etc/os-release": bookworm, sources: other}}},
		{
			name: "nothing set", host: fakeHost{
				files:    files{aptConfig: "", "/etc/apt/sources.list": "# deb http://x/y z\ndeb [signed-by=/k] http://ftp.debian.org/debian bookworm main\n"},
				commands: map[string]string{aptConfig: "Acquire \"\";\nAPT::Architecture \"amd64\";\n"},
			},
		},
		{
			name: "proxies", host: fakeHost{
				files: files{aptConfig: "", "/corp.pem": ca, bundlePath: ca},
				commands: map[string]string{aptConfig: "Acquire::http::Proxy \"http://u:secret@p:3142/\";\nAcquire::HTTP::proxy::intra.corp \"DIRECT\";\nAcquire::http::Proxy-Auto-Detect \"/x\";\n" +
					"Acquire::https::CAInfo \"/corp.pem\";\nAcquire::https::Proxy \"a\"b\";\nAcquire::ftp::Proxy \"x\";\nAcquire::http::Timeout \"1\";\n"},
			},
			conf: "Acquire::http::Proxy \"http://u:secret@p:3142/\";\nAcquire::HTTP::proxy::intra.corp \"DIRECT\";\nAcquire::https::CAInfo \"/run/ibuild/machine/ca.crt\";\n",
			notes: []string{
				"CA certificates: 1, 0 of them not in " + bundlePath + " (from apt's Acquire::https::CAInfo)",
				"apt proxy: the command that finds it on this machine is not carried",
				"apt Acquire::http::Proxy http://***@p:3142/ (from apt-config)",
				"apt Acquire::HTTP::proxy::intra.corp DIRECT (from apt-config)",
				"apt proxy Acquire::https::Proxy is not carried: it has control characters or quotes",
			},
		},
		{
			name: "configured proxy", cfg: &Config{File: "/c.toml", Packages: Packages{AptProxy: "http://cfg:1"}},
			host: fakeHost{files: files{aptConfig: ""}, commands: map[string]string{aptConfig: "Acquire::http::Proxy \"http://p\";\n"}},
			conf: "Acquire::http::Proxy \"http://cfg:1\";\nAcquire::https::Proxy \"http://cfg:1\";\n",
			notes: []string{
				"apt Acquire::http::Proxy http://cfg:1 (from /c.toml)", "apt Acquire::https::Proxy http://cfg:1 (from /c.toml)",
			},
		},
		{
			name: "apt fails", host: fakeHost{files: files{aptConfig: "", sources: other}},
			notes: []string{"apt's proxies are not known: apt-config: not to be run: /usr/bin/apt-config", "apt's mirrors are not known: apt-get indextargets: not to be run: /usr/bin/apt-get"},
		},
		{
			name: "public hosts only", host: fakeHost{
				files:    files{aptConfig: "", "/etc/os-release": bookworm, sources: other},
				commands: map[string]string{aptConfig: "", aptGet: "http://ftp.debian.org/debian/ bookworm main amd64\nhttps://download.docker.com/linux/debian/ bookworm stable amd64\n"},
			},
			notes: []string{"apt repository https://download.docker.com/linux/debian/ bookworm is not carried: it is not known to be a mirror of debian"},
		},
		{
			name: "Debian mirror", host: fakeHost{
				files: files{
					aptConfig: "", "/etc/os-release": bookworm, sources: other,
					"/var/lib/apt/lists/m.corp:8080_deb%5fremote_dists_bookworm-updates_InRelease":     "-----BEGIN PGP SIGNED MESSAGE-----\nOrigin: Debian\nSHA256:\n",
					"/var/lib/apt/lists/packages.corp_debian_dists_bookworm_Release":                   "Origin: Corp\nSHA256:\n",
					"/var/lib/apt/lists/apt.releases.hashicorp.com_dists_bookworm_InRelease":           "Origin: Artifactory\n",
					"/var/lib/apt/lists/security.debian.org_debian-security_dists_bookworm-security_x": "",
				},
				commands: map[string]string{aptConfig: "", aptGet: "https://u:secret@mirror.corp/debian/ bookworm main amd64\nhttps://u:secret@mirror.corp/debian/ bookworm main all\nhttps://u:secret@mirror.corp/debian/ bookworm contrib amd64\n" +
					"https://u:secret@mirror.corp/debian/ bookworm-backports main amd64\nhttps://u:secret@mirror.corp/debian/ bookworm-backports contrib amd64\n" +
					"http://m.corp:8080/deb_remote/ bookworm-updates main amd64\nhttp://security.debian.org/debian-security/ bookworm-security main amd64\n" +
					"https://packages.corp/debian/ bookworm main amd64\nhttps://apt.releases.hashicorp.com/ bookworm main amd64\nfile:/srv/debian/ bookworm main amd64\nhttps://x.corp/debian/ stable main amd64\nhttps://x.corp/flat/ ./ $(COMPONENT) $(ARCHITECTURE)\n"},
			},
			list: "# codename: bookworm\n\nTypes: deb\nURIs: https://u:secret@mirror.corp/debian/\nSuites: bookworm bookworm-backports\nComponents: main contrib\n" +
				"\nTypes: deb\nURIs: http://m.corp:8080/deb_remote/\nSuites: bookworm-updates\nComponents: main\n" +
				"\nTypes: deb\nURIs: http://security.debian.org/debian-security/\nSuites: bookworm-security\nComponents: main\n",
			notes: []string{
				"apt repository https://packages.corp/debian/ bookworm is not carried: it is not known to be a mirror of debian",
				"apt repository https://apt.releases.hashicorp.com/ bookworm is not carried: it is not known to be a mirror of debian",
				"apt repository file:/srv/debian/ bookworm is not carried: it is not known to be a mirror of debian",
				"apt repository https://x.corp/debian/ stable is not carried: it is not known to be a mirror of debian",
				"apt mirror for bookworm, bookworm-backports https://***@mirror.corp/debian/ (from apt-get indextargets)",
				"apt mirror for bookworm-updates http://m.corp:8080/deb_remote/ (from apt-get indextargets)",
				"apt mirror for bookworm-security http://security.debian.org/debian-security/ (from apt-get indextargets)",
			},
		},
		{
			name: "Ubuntu mirror", host: fakeHost{
				files:    files{aptConfig: "", "/usr/lib/os-release": jammy, sources: other},
				commands: map[string]string{aptConfig: "", aptGet: "http://m.corp/ubuntu/ jammy universe amd64\nhttp://m.corp/ubuntu/ jammy universe i386\nhttp://m.corp/ubuntu/ jammy universe all\n"},
			},
			list:  "# codename: jammy\n# architecture: amd64 i386\n\nTypes: deb\nURIs: http://m.corp/ubuntu/\nSuites: jammy\nComponents: universe\n",
			notes: []string{"apt mirror for jammy http://m.corp/ubuntu/ (from apt-get indextargets)"},
		},
		{
			name: "another distribution", host: fakeHost{
				files:    files{aptConfig: "", "/etc/os-release": "ID=linuxmint\nVERSION_CODENAME=virginia\n", sources: other},
				commands: map[string]string{aptConfig: "", aptGet: "http://m.corp/ubuntu/ jammy main amd64\n"},
			},
		},
		{
			name: "configured sources", cfg: &Config{File: "/c.toml", Packages: Packages{AptSources: "/s"}},
			host: fakeHost{
				files:    files{aptConfig: "", sources: other, "/s": "Types: deb\nURIs: http://m\nSuites: x\nSigned-By: /usr/k.gpg\nComponents: main\n"},
				commands: map[string]string{aptConfig: ""},
			},
			list:  "# codename: *\n\nTypes: deb\nURIs: http://m\nSuites: x\nComponents: main\n",
			notes: []string{"apt sources /s (from /c.toml)"},
		},
		{
			name: "configured sources gone", cfg: &Config{File: "/c.toml", Packages: Packages{AptSources: "/s"}},
			err: "/s: the apt sources cannot be used: there is no such file; mend packages.apt_sources in /c.toml",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := detect(t, tc.cfg, tc.host, tc.notes, tc.err)
			if d := cmp.Diff(tc.conf, string(m.Files[llb.MachineApt])); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.list, string(m.Files[llb.MachineList])); d != "" {
				t.Error(d)
			}
			if want := tc.conf != ""; (m.Env["APT_CONFIG"] == llb.MachineFile(llb.MachineApt)) != want {
				t.Errorf("APT_CONFIG = %q", m.Env["APT_CONFIG"])
			}
		})
	}
}

func TestAptSources(t *testing.T) {
	stanza := "Types: deb\nURIs: http://m\nSuites: x\n"
	for _, c := range []struct{ in, want, err string }{
		{in: stanza, want: "# codename: *\n\n" + stanza},
		{in: "# codename: bookworm\r\n\r\n" + stanza, want: "# codename: bookworm\n\n" + stanza},
		{in: stanza + "Signed-By:\n /usr/x.gpg\nTrusted: yes\n\n\n" + stanza, want: "# codename: *\n\n" + stanza + "Trusted: yes\n\n\n" + stanza},
		{in: stanza + "Signed-By: /a\n /b\nTrusted: yes\n", want: "# codename: *\n\n" + stanza + "Trusted: yes\n"},
		{in: stanza + "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n ab/c\n", want: "# codename: *\n\n" + stanza + "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n ab/c\n"},
		{in: stanza + "Signed-By:", want: "# codename: *\n\n" + stanza + "Signed-By:\n"},
		{in: "", err: "there is no stanza in it"},
		{in: "# only\n", err: "there is no stanza in it"},
		{in: " x\n", err: "line 1 goes on with a field that there is not"},
		{in: "deb [a=b:c] http://x y z\n", err: "line 1 is not a field of a deb822 file"},
		{in: "Types: deb\n\x00", err: "it has control characters"},
	} {
		got, err := aptSources([]byte(c.in))
		if message(err) != c.err || string(got) != c.want {
			t.Errorf("%q: got %q, %v", c.in, got, err)
		}
	}
}
