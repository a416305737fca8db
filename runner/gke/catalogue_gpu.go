package gke

// gpus is the table of GPUs. Numbers and machine types are those that GKE's
// autoscaler knows; for GPUs that are put into any N1 machine the type is a pattern.
func gpus() []gpu {
	n1 := []string{"n1-*"}
	return []gpu{
		{name: "k80", label: "nvidia-tesla-k80", memory: 12, note: "Google Cloud no longer has it",
			sizes: []size{{1, n1}, {2, n1}, {4, n1}, {8, n1}}},
		{name: "p4", label: "nvidia-tesla-p4", memory: 8,
			sizes: []size{{1, n1}, {2, n1}, {4, n1}}},
		{name: "p100", label: "nvidia-tesla-p100", memory: 16,
			sizes: []size{{1, n1}, {2, n1}, {4, n1}}},
		{name: "v100", label: "nvidia-tesla-v100", memory: 16,
			sizes: []size{{1, n1}, {2, n1}, {4, n1}, {8, n1}}},
		{name: "t4", label: "nvidia-tesla-t4", memory: 16,
			sizes: []size{{1, n1}, {2, n1}, {4, n1}}},
		{name: "l4", label: "nvidia-l4", memory: 24,
			sizes: []size{
				{1, []string{"g2-standard-4", "g2-standard-8", "g2-standard-12", "g2-standard-16", "g2-standard-32"}},
				{2, []string{"g2-standard-24"}},
				{4, []string{"g2-standard-48"}},
				{8, []string{"g2-standard-96"}},
			}},
		{name: "a100", label: "nvidia-tesla-a100", aliases: []string{"a100-40gb"}, memory: 40,
			sizes: []size{
				{1, []string{"a2-highgpu-1g"}},
				{2, []string{"a2-highgpu-2g"}},
				{4, []string{"a2-highgpu-4g"}},
				{8, []string{"a2-highgpu-8g"}},
				{16, []string{"a2-megagpu-16g"}},
			}},
		{name: "a100-80gb", label: "nvidia-a100-80gb", memory: 80,
			sizes: []size{
				{1, []string{"a2-ultragpu-1g"}},
				{2, []string{"a2-ultragpu-2g"}},
				{4, []string{"a2-ultragpu-4g"}},
				{8, []string{"a2-ultragpu-8g"}},
			}},
		{name: "h100", label: "nvidia-h100-80gb", aliases: []string{"h100-80gb"}, memory: 80,
			sizes: []size{
				{1, []string{"a3-highgpu-1g"}},
				{2, []string{"a3-highgpu-2g"}},
				{4, []string{"a3-highgpu-4g"}},
				{8, []string{"a3-highgpu-8g", "a3-edgegpu-8g"}},
			}},
		{name: "h100-mega", label: "nvidia-h100-mega-80gb", aliases: []string{"h100-mega-80gb"}, memory: 80,
			sizes: []size{{8, []string{"a3-megagpu-8g"}}}},
		{name: "h200", label: "nvidia-h200-141gb", aliases: []string{"h200-141gb"}, memory: 141,
			sizes: []size{{8, []string{"a3-ultragpu-8g"}}}},
		{name: "b200", label: "nvidia-b200", memory: 180,
			sizes: []size{{8, []string{"a4-highgpu-8g"}}}},
		{name: "gb200", label: "nvidia-gb200", arch: "arm64", memory: 186,
			sizes: []size{{4, []string{"a4x-highgpu-4g"}}}},
		{name: "gb300", label: "nvidia-gb300", arch: "arm64",
			sizes: []size{{4, []string{"a4x-maxgpu-4g-metal"}}}},
		{name: "rtx-pro-6000", label: "nvidia-rtx-pro-6000", memory: 96,
			sizes: []size{
				{1, []string{"g4-standard-48"}},
				{2, []string{"g4-standard-96"}},
				{4, []string{"g4-standard-192"}},
				{8, []string{"g4-standard-384"}},
			}},
	}
}
