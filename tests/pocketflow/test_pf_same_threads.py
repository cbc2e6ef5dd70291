"""Programs with threads behave as without us."""

import threading

import pocketflow as pf


def test_one_flow_object_in_six_threads(same):
    def program(log):
        gate = threading.Barrier(6)

        class Meet(pf.Node):
            def prep(self, shared):
                gate.wait(10)
                return shared["who"]

            def exec(self, who):
                self.mine = who
                if who % 2 and self.cur_retry == 0:
                    raise ValueError(who)
                gate.wait(10)
                return self.mine

            def post(self, shared, prep_res, exec_res):
                gate.wait(10)
                shared["seen"].append((prep_res, exec_res, self.mine, self.cur_retry))
                return "again" if len(shared["seen"]) < 3 else None

        node = Meet(max_retries=2)
        _ = node - "again" >> node
        _ = node - "default" >> pf.Node()
        flow = pf.Flow(start=node)
        states = [{"who": i, "seen": []} for i in range(6)]
        threads = [threading.Thread(target=flow.run, args=(state,)) for state in states]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return states, gate.broken

    same(program)


def test_shared_state_changed_by_other_threads_meanwhile(same):
    def program(log):
        shared = {i: [i] for i in range(200)}
        stop = threading.Event()

        def churn():
            n = 0
            while not stop.is_set():
                n += 1
                shared[f"k{n % 50}"] = [n]
                shared.pop(f"k{(n * 7) % 50}", None)
                shared[0].append(n)
                del shared[0][:-5]

        thread = threading.Thread(target=churn)
        thread.start()
        try:

            class Step(pf.Node):
                def post(self, state, prep_res, exec_res):
                    log.append(len(log))
                    return "again" if len(log) < 20 else "end"

            node = Step()
            _ = node - "again" >> node
            _ = node - "end" >> pf.Node()
            return pf.Flow(start=node).run(shared)
        finally:
            stop.set()
            thread.join(10)

    same(program)
