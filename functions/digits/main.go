// Command digits is the function that reads handwritten digits of 8x8 pixels.
package main

import (
	"os"

	"weir.dev/weir/functions"
)

func main() { os.Exit(functions.Main(functions.Options{Name: "digits"})) }
