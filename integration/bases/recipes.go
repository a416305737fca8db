package bases

// recipes lists the images that can be made on this machine, each before those
// that are made from it.
func recipes() []*recipe {
	sources := debianSources()
	debian := debian(sources, extraCertificates())
	return []*recipe{busybox(sources), debian, python(debian, sources), uv()}
}
