import Foundation
import Testing

@testable import OCIArtifacts

@Suite struct ManifestTests {
    @Test func anchorIsAFunctionOfTheFingerprintAlone() {
        let fingerprint = Digest.sha256(of: Array("base".utf8))
        let anchor = BaseAnchor(fingerprint: fingerprint)
        let empty = Descriptor.empty.digest
        let expected =
            #"{"annotations":{"dev.incipit.base.fingerprint":"\#(fingerprint)"},"#
            + #""artifactType":"application/vnd.incipit.base.v1+json","#
            + #""config":{"digest":"\#(empty)","mediaType":"application/vnd.oci.empty.v1+json","size":2},"#
            + #""layers":[{"digest":"\#(empty)","mediaType":"application/vnd.oci.empty.v1+json","size":2}],"#
            + #""mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}"#
        #expect(String(decoding: anchor.bytes, as: UTF8.self) == expected)
        #expect(anchor.digest == .sha256(of: Array(expected.utf8)))
        #expect(anchor.tag.description == "base-\(fingerprint.hex.prefix(12))")
        #expect(anchor.tag.isBaseAnchor)
    }

    @Test func serialisesCanonicallyAndReadsItBack() throws {
        var layer = Descriptor(of: [1, 2, 3], mediaType: "a/b", annotations: ["z": "\"\\/\n\u{1}é", "a": ""])
        layer.urls = ["https://example.org/x"]
        layer.data = Data([1, 2, 3])
        let manifest = Manifest(
            artifactType: "application/x", config: .empty, layers: [layer], subject: .empty, annotations: ["k": "v"])
        let back = try Manifest.parse(manifest.serialized, mediaType: MediaType.imageManifest)
        #expect(back == manifest)
        #expect(back.serialized == manifest.serialized)
        #expect(String(decoding: manifest.serialized, as: UTF8.self).contains(#""z":"\"\\/\n\u0001é""#))
    }

    @Test func artifactTypeFallsBackToTheConfig() throws {
        let config = Descriptor(of: [1], mediaType: "application/config")
        #expect(Manifest(artifactType: nil, config: config, layers: []).effectiveArtifactType == "application/config")
        #expect(Manifest(ImageIndex(manifests: [])).effectiveArtifactType == nil)
    }

    @Test func indexesAreNotMistakenForManifests() throws {
        let index = ImageIndex(manifests: [.empty])
        #expect(try ImageIndex.parse(index.serialized) == index)
        let manifest = Manifest(artifactType: "a/b", config: .empty, layers: [])
        #expect(throws: OCIArtifactError.self) { try ImageIndex.parse(manifest.serialized) }
        #expect(throws: OCIArtifactError.self) {
            try Manifest.parse(manifest.serialized, mediaType: MediaType.imageIndex)
        }
    }

    @Test func mediaTypeParametersAreIgnored() throws {
        let manifest = Manifest(artifactType: "a/b", config: .empty, layers: [])
        #expect(
            try Manifest.parse(manifest.serialized, mediaType: MediaType.imageManifest + " ; charset=utf-8") == manifest
        )
    }

    static let config = #""config":{"mediaType":"a/b","digest":"\#(Descriptor.empty.digest)","size":2}"#

    @Test(arguments: [
        "", "null", "7", "{", #"{"schemaVersion":2}"#, #"{"schemaVersion":"2",\#(config)}"#,
        #"{"schemaVersion":1,\#(config)}"#, #"{"schemaVersion":2,\#(config)} x"#,
        #"{"schemaVersion":2,\#(config),\#(config)}"#, #"{"schemaVersion":2,\#(config),"layers":{}}"#,
        #"{"schemaVersion":2,\#(config),"layers":[{}]}"#, #"{"schemaVersion":2,\#(config),"annotations":{"a":1}}"#,
        #"{"schemaVersion":2,\#(config),"subject":{}}"#, #"{"schemaVersion":2,\#(config),"artifactType":"not one"}"#,
        #"{"schemaVersion":2,"mediaType":"text/plain",\#(config)}"#, #"{"schemaVersion":2,\#(config),"manifests":[]}"#,
        #"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:zz","size":2}}"#,
        #"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"\#(Descriptor.empty.digest)","size":-1}}"#,
        #"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"\#(Descriptor.empty.digest)","size":2.5}}"#,
        #"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"\#(Descriptor.empty.digest)","size":99999999999999999999}}"#,
        #"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"\#(Descriptor.empty.digest)","size":2,"data":"!"}}"#,
        #"{"schemaVersion":2,\#(config),"x":"\ud800"}"#, #"{"schemaVersion":2,\#(config),"x":01}"#,
    ])
    func refusesMalformedManifests(text: String) {
        #expect(throws: OCIArtifactError.self) { try Manifest.parse(Array(text.utf8)) }
    }

    @Test func limitsDepthAndSize() {
        let deep = Array(String(repeating: "[", count: 2_000_000).utf8)
        #expect { try Manifest.parse(deep) } throws: { ($0 as? OCIArtifactError)?.code == .jsonInvalid }
        let large = [UInt8](repeating: 0x20, count: Manifest.maximumSize + 1)
        #expect { try Manifest.parse(large) } throws: { ($0 as? OCIArtifactError)?.code == .tooLarge }
        #expect(throws: OCIArtifactError.self) { try JSONNode.parse([0x22, 0xff, 0xfe, 0x22]) }
    }
}
