// Command shell is the shell of the images of TestEqualIdentitiesMakeEqualTrees: it runs nothing, and writes down what a
// step can see.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
)

func main() {
	command := os.Args[len(os.Args)-1]
	bound, _ := os.ReadFile("/bound/a") // one step has it
	text := fmt.Sprintf("%q\nUSED=%s\nbound %s\n", os.Args, os.Getenv("USED"), bound)
	if err := os.WriteFile(fmt.Sprintf("/ran-%x", sha256.Sum256([]byte(command))), []byte(text), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
