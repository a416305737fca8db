package bases

// recipes lists the images that can be made on this machine, each before those
// that are made from it.
func recipes() []*recipe {
	sources := debianSources()
	debian := debian(sources, extraCertificates())
	python := python(debian, sources)
	return []*recipe{busybox(sources), debian, python, uv(), micromamba(python), pixi(debian)}
}
