// Command embed is the function that gives an image's features: the 1,280 numbers before EfficientNet-Lite0's classifier.
package main

import (
	"os"

	"weir.dev/weir/functions"
)

func main() { os.Exit(functions.Main(functions.Options{Name: "embed"})) }
