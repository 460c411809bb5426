import Testing

@testable import Generation

@Suite struct StopSequencesTests {
    private func run(_ stops: [String], _ pieces: [String]) -> (String, String?) {
        var watcher = StopSequences(stops)
        var text = ""
        for piece in pieces {
            let (certain, stopped) = watcher.append(piece)
            text += certain
            if stopped { break }
        }
        return (text + watcher.finish(), watcher.matched)
    }

    @Test func `what may become a stop string is held back`() {
        var watcher = StopSequences(["\nUser:"])
        #expect(watcher.append("Hi\nUs").text == "Hi")
        #expect(watcher.append("e").text == "")
        #expect(watcher.append("d\n").text == "\nUsed")
        #expect(watcher.append("User").text == "")
        #expect(watcher.append(": x") == ("", true))
        #expect(watcher.append("more") == ("", true))
        #expect(watcher.matched == "\nUser:" && watcher.finish() == "")
    }

    @Test func `what was held back comes out at the end`() {
        #expect(run(["END"], ["a E", "N"]) == ("a EN", nil))
        #expect(run([], ["a", "b"]) == ("ab", nil))
        #expect(run(["", "b"], ["ab"]) == ("a", "b"))
    }

    @Test func `the answer does not depend on where pieces end`() {
        let text = "xaabcdé😀bcaaab"
        for stops in [["abcd", "bc"], ["aaab"], ["é😀b", "😀"], ["aab", "ab", "b"], ["zzz"], ["ab", "abcd"]] {
            let whole = run(stops, [text])
            let single = run(stops, text.map(String.init))
            #expect(whole == single)
            for cut in 1..<text.count {
                #expect(run(stops, [String(text.prefix(cut)), String(text.dropFirst(cut))]) == whole)
            }
        }
        #expect(run(["abcd", "bc"], [text]) == ("xaa", "bc"))
    }
}
