from tests import TodoTest


class ListTest(TodoTest):
    def test_an_empty_list_says_so(self):
        self.assertEqual(self.todo("list"), (0, "Nothing to do.\n"))

    def test_tasks_are_listed_in_the_order_in_which_they_were_added(self):
        self.assertEqual(self.todo("add", "buy milk"), (0, "Added as 1.\n"))
        self.todo("add", "call Ada")
        self.assertEqual(self.todo("list"), (0, "  1  buy milk\n  2  call Ada\n"))
