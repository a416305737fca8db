package gke

// tpus is the table of TPUs. Machine types, topologies and the limits in cubes are
// those that GKE's autoscaler knows, the memory of a chip is from Google's pages
// about each generation. 2x4 is there twice for v5e and v6e: as one machine with
// eight chips, which a bare 8 means, and as two with four.
func tpus() []tpu {
	return []tpu{
		{name: "v3-device", label: "tpu-v3-device", cores: 2, memory: 32, note: "one host only",
			machines: []machine{{"ct3-hightpu-4t", 4, "2x2"}}},
		{name: "v3", label: "tpu-v3-slice", cores: 2, memory: 32, note: "several hosts only",
			machines: []machine{{"ct3p-hightpu-4t", 4, ""}},
			slices:   []string{"4x4", "4x8", "8x8", "8x16", "16x16", "16x32", "32x32", "32x64"}},
		{name: "v4-lite", label: "tpu-v4-lite-device", cores: 1, note: "one host only",
			machines: []machine{{"ct4l-hightpu-4t", 4, "2x2"}}},
		{name: "v4", label: "tpu-v4-podslice", cores: 2, memory: 32, cubes: 64,
			machines: []machine{{"ct4p-hightpu-4t", 4, "2x2x1"}},
			slices:   []string{"2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x12", "8x8x16", "8x16x16"}},
		{name: "v5e-device", label: "tpu-v5-lite-device", cores: 1, memory: 16, note: "one host only; GKE's older label",
			machines: []machine{{"ct5l-hightpu-1t", 1, "1x1"}, {"ct5l-hightpu-4t", 4, "2x2"}, {"ct5l-hightpu-8t", 8, "2x4"}}},
		{name: "v5e", label: "tpu-v5-lite-podslice", aliases: []string{"v5litepod"}, cores: 1, memory: 16,
			machines: []machine{{"ct5lp-hightpu-1t", 1, "1x1"}, {"ct5lp-hightpu-4t", 4, "2x2"}, {"ct5lp-hightpu-8t", 8, "2x4"}},
			slices:   []string{"2x4", "4x4", "4x8", "8x8", "8x16", "16x16"}},
		{name: "v5p", label: "tpu-v5p-slice", cores: 2, memory: 95, cubes: 140, ordered: true,
			machines: []machine{{"ct5p-hightpu-4t", 4, "2x2x1"}},
			slices: []string{"2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16", "16x16x16",
				"16x16x24"}},
		{name: "v6e", label: "tpu-v6e-slice", aliases: []string{"trillium"}, cores: 1, memory: 32,
			machines: []machine{{"ct6e-standard-1t", 1, "1x1"}, {"ct6e-standard-4t", 4, "2x2"}, {"ct6e-standard-8t", 8, "2x4"}},
			slices:   []string{"2x4", "4x4", "4x8", "8x8", "8x16", "16x16"}},
		{name: "tpu7x", label: "tpu7x", aliases: []string{"v7x", "7x", "ironwood"}, cores: 2, memory: 192, cubes: 144, ordered: true,
			machines: []machine{{"tpu7x-standard-1t", 1, "1x1x1"}, {"tpu7x-standard-4t", 4, "2x2x1"}},
			slices: []string{"2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16", "16x16x16",
				"16x16x24"}},
		{name: "tpu7", label: "tpu7", cores: 2, cubes: 4, ordered: true,
			machines: []machine{{"tpu7-standard-1t", 1, "1x1x1"}, {"tpu7-standard-4t", 4, "2x2x1"}},
			slices:   []string{"2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x4x12", "4x8x8", "4x4x16"}},
	}
}
