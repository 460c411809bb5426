# make help lists what there is.

.PHONY: help build demo test emulate bench bench-formats faults interop mpi oracles formats tokenizers fuzz docs data format lint clean
.DEFAULT_GOAL := help

# Tests run on what is shipped, optimised code; they also look inside modules, so they have a build of their own.
TESTING := -c release --scratch-path .build-tests -Xswiftc -enable-testing

SOURCES := $(wildcard Package.swift Sources Formats Registry Tests Fixtures)

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-13s %s\n", $$1, $$2 }'

build: ## Build the release executable
	@Scripts/install-dependencies.sh
	swift build -c release --product incipit

demo: build ## Fetch a model, tune a soft prompt on it, version, serve, attach and score it
	@Scripts/fetch-model.sh > /dev/null
	@Scripts/demo.sh

test: ## Build and run the tests (offline; no model is downloaded)
	@Scripts/install-dependencies.sh
	swift build $(TESTING) --build-tests
	swift test $(TESTING) --skip-build
	INCIPIT_KERNELS=portable swift test $(TESTING) --skip-build --filter '^(Kernels|Layers|LanguageModels|Generation)Tests'

emulate: ## Kernels of processors that are not at hand: AVX-512, and 64-bit ARM under qemu-user
	@Tests/Emulation/run.sh

bench: build ## Speed and memory against llama.cpp and PEFT (makes a Python environment; takes a while)
	@Tests/Benchmarks/run.sh

bench-formats: build ## Opening, vocabulary, fingerprint, convert, quantize, encoders, beside llama.cpp and OpenSSL
	@Tests/Benchmarks/formats.sh

faults: build ## Kill the registry, collect garbage under load, fill its disk (ROUNDS=100, SECONDS=300)
	@Tests/Faults/registry_faults.py $$(swift build -c release --show-bin-path)/incipit \
		--rounds $(or $(ROUNDS),100) --seconds $(or $(SECONDS),300)

interop: build ## Push, pull, log in and verify with skopeo, docker-registry, oras-py, openssl, model_signing
	@Scripts/interop.sh

mpi: ## Tuning in 2 to 4 MPI processes against one process: the same bytes (needs Open MPI; builds with the trait MPI)
	@Tests/Oracles/mpi.sh

oracles: build formats ## Logits, perplexity and training losses against transformers, llama.cpp and PEFT; formats
	@Tests/Oracles/run.sh
	@Tests/Oracles/architectures.sh
	@Tests/Oracles/tokenizers/run.sh
	@Tests/Oracles/sampling.sh

formats: build ## Conversion, quantization and importance against transformers, ggml and llama.cpp; large models
	@Tests/Oracles/conversion.sh
	@Tests/Oracles/quantize.sh
	@Tests/Oracles/imatrix.sh
	@Tests/Oracles/conduct.sh

tokenizers: build ## Ids and texts of 100 000 random strings for each tokenizer, and of converted ones, against tokenizers and SentencePiece
	@Tests/Oracles/tokenizers/run.sh
	@Tests/Oracles/tokenizers.sh

fuzz: ## Fuzz every reader of foreign bytes (SECONDS=60 each; TARGET=gguf for one alone)
	@SECONDS_EACH=$(or $(SECONDS),60) TARGET=$(TARGET) Tests/Fuzz/run.sh

docs: build ## Reference documentation of the library modules, with DocC
	@Scripts/docs.sh

data: ## Check the labelled rows against WordNet
	@Scripts/fetch-data.sh

format: ## Rewrite the Swift sources in the project's layout
	swift format --in-place --parallel --recursive $(SOURCES)

lint: ## Check that layout
	swift format lint --strict --parallel --recursive $(SOURCES)

clean: ## Remove what was built (downloads in the cache stay)
	rm -rf .build .build-tests Tests/Benchmarks/.build Tests/Fuzz/.build
