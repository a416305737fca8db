package cuda

import (
	"fmt"
	"slices"
	"strings"
)

// Wish is what a spec says that has to do with CUDA.
type Wish struct {
	CUDA  string // "12.4", "12.4.1" or "12"; "" for none
	CuDNN string // "9" or "9.1"; "" for none
	// Requirements are those of all Python layers, as PEP 508 writes them. What is not a requirement is
	// passed over: saying so is the business of whoever owns the text.
	Requirements []string
	Python       string   // X.Y of the image, "" when it is not known
	Platforms    []string // "linux/arm64"; none stands for linux/amd64
	Base         string   // reference of an existing image, "" for the Debian Python base
	SitePackages string   // absolute path in the image where wheels are installed, "" when it is not known
}

// Choice is how the image gets its CUDA. The zero value is an image without CUDA.
type Choice struct {
	CUDA     string // "12.4", "" when only the base knows
	CuDNN    string // "9.1" or "9", "" for none, or when it is not known
	FromBase bool   // the base has them, no wheel brings them
	// Additions are requirements to install with the others.
	Additions []Addition
	// Indexes are package indexes (URLs) to look at before the others. An index of torch has old copies
	// of other packages too; see TorchBackend.
	Indexes []string
	// TorchBackend is the value of uv's --torch-backend that stands for Indexes, "" when there is none.
	// uv then takes torch and its companions from there and all else from where it would. A caller
	// that runs uv passes this one and leaves Indexes away.
	TorchBackend string
	Env          map[string]string // environment variables of the image
	// MinDriver is the oldest Linux driver for CUDA's major version, "" when it is not known.
	MinDriver string
}

// Addition is one more requirement.
type Addition struct {
	Requirement string // PEP 508
	Package     int    // index in Wish.Requirements of the one whose layer it belongs to, -1 for none
}

// Severity says whether the image can be built all the same.
type Severity int

const (
	// Warning is about something that is probably wrong or not known.
	Warning Severity = iota
	// Error is about something that cannot work.
	Error
)

// Field says what of a [Wish] a [Finding] is about; the values are the names of a spec's fields.
type Field string

// The fields of a spec that findings are about.
const (
	FieldCUDA     Field = "cuda"
	FieldCuDNN    Field = "cudnn"
	FieldPackage  Field = "packages" // the one with the index Finding.Package
	FieldPlatform Field = "platforms"
	FieldBase     Field = "base_image"
)

// Finding is one thing that is wrong or doubtful in a [Wish].
type Finding struct {
	Severity Severity
	Field    Field
	Package  int    // index in Wish.Requirements where Field is FieldPackage, else 0
	Msg      string // what is wrong, and who asked for what
	Hint     string // what to do about it, "" when Msg says it already
}

// chooser is the state of one [Choose].
type chooser struct {
	wish        Wish
	cuda, cudnn version // what is wished; zero for nothing
	base        base
	frameworks  []used
	choice      Choice
	findings    []Finding
}

// Choose decides for a wish. Without cuda and cudnn there is nothing to decide. The choice is of use
// when no finding is an [Error].
func Choose(w Wish) (Choice, []Finding) {
	if w.CUDA == "" && w.CuDNN == "" {
		return Choice{}, nil
	}
	c := &chooser{wish: w, base: readBase(w.Base)}
	c.readCUDA()
	c.readCuDNN()
	c.checkPair()
	c.checkPlatforms()
	c.frameworks = c.findFrameworks()
	if !c.failed() {
		if c.base.hasCUDA || c.base.opaque {
			c.fromBase()
		} else {
			c.fromWheels()
		}
	}
	if c.failed() {
		return Choice{}, c.findings
	}
	return c.choice, c.findings
}

func (c *chooser) add(s Severity, f Field, msg, hint string) {
	c.findings = append(c.findings, Finding{Severity: s, Field: f, Msg: msg, Hint: hint})
}

func (c *chooser) addPackage(s Severity, index int, msg, hint string) {
	c.findings = append(c.findings, Finding{Severity: s, Field: FieldPackage, Package: index, Msg: msg, Hint: hint})
}

func (c *chooser) failed() bool {
	return slices.ContainsFunc(c.findings, func(f Finding) bool { return f.Severity == Error })
}

// asked words the wish for messages.
func (c *chooser) asked() string {
	var parts []string
	if c.wish.CUDA != "" {
		parts = append(parts, fmt.Sprintf("cuda: %q", c.wish.CUDA))
	}
	if c.wish.CuDNN != "" {
		parts = append(parts, fmt.Sprintf("cudnn: %q", c.wish.CuDNN))
	}
	return strings.Join(parts, " with ")
}

// field is where a finding about the whole wish belongs.
func (c *chooser) field() Field {
	if c.wish.CUDA == "" {
		return FieldCuDNN
	}
	return FieldCUDA
}

// checkPair looks at cuda and cudnn alone.
func (c *chooser) checkPair() {
	if c.cudnn.given() && c.cuda.given() && !cudnnFits(c.cudnn, c.cuda.major) {
		c.add(Error, FieldCuDNN, fmt.Sprintf("cudnn: %q does not go with cuda: %q: there is no cuDNN %s for CUDA %d",
			c.wish.CuDNN, c.wish.CUDA, c.cudnn.short(), c.cuda.major),
			fmt.Sprintf("write cudnn: %q", newestCuDNN(c.cuda.major)))
	}
}

// checkPlatforms refuses what CUDA does not run on.
func (c *chooser) checkPlatforms() {
	for _, p := range c.wish.Platforms {
		if !strings.HasPrefix(p, "linux/amd64") && !strings.HasPrefix(p, "linux/arm64") {
			c.add(Error, FieldPlatform, fmt.Sprintf("%s: there is no CUDA for the platform %q", c.asked(), p),
				"take linux/amd64 and linux/arm64, or make an image without cuda for the other platforms")
		}
	}
}

// arm64 says whether one of the platforms is.
func (c *chooser) arm64() bool {
	return slices.ContainsFunc(c.wish.Platforms, func(p string) bool { return strings.HasPrefix(p, "linux/arm64") })
}

// settle fills in what follows from the versions; a zero version is not known.
func (c *chooser) settle(cuda version) {
	if cuda.given() {
		c.choice.CUDA = cuda.short()
		c.choice.MinDriver = minDriver(cuda.major)
	}
}

// driverEnv makes the container runtime hand the GPUs and the driver's libraries in. Images of NVIDIA
// set these two themselves.
func driverEnv() map[string]string {
	return map[string]string{"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
}
