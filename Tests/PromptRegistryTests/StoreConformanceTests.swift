import OCIArtifacts
import PromptRegistry
import TestSupport
import Testing

@Suite struct StoreConformanceTests {
    @Test(arguments: RegistryStoreChecks.all)
    func memoryStore(check: RegistryStoreChecks.Check) async throws {
        try await check.run(MemoryStore())
    }

    @Test(arguments: RegistryStoreChecks.all)
    func embeddedStore(check: RegistryStoreChecks.Check) async throws {
        let folder = try TemporaryFolder()
        try await check.run(folder.open())
        // Nothing is half-way in, and everything is sound.
        #expect(folder.files("tmp").isEmpty)
        let report = try await folder.open().verify(readData: true)
        #expect(report.isSound, "\(report.problems)")
    }
}
